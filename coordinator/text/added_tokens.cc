#include "coordinator/text/added_tokens.h"

#include <algorithm>
#include <utility>

#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

// Start of the character that ends at `end`.
size_t CharStart(absl::string_view text, size_t end) {
  size_t start = end - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return start;
}

bool EndsWithWord(absl::string_view text) {
  if (text.empty()) return false;
  size_t pos = CharStart(text, text.size());
  return IsWordChar(NextChar(text, &pos));
}

bool StartsWithWord(absl::string_view text) {
  size_t pos = 0;
  return !text.empty() && IsWordChar(NextChar(text, &pos));
}

// Start of the whitespace at the end of text[floor, end).
size_t TrailingSpaceStart(absl::string_view text, size_t floor, size_t end) {
  while (end > floor) {
    const size_t start = CharStart(text, end);
    size_t pos = start;
    if (!IsWhitespace(NextChar(text, &pos))) break;
    end = start;
  }
  return end;
}

// Behind the whitespace that starts at `begin`.
size_t LeadingSpaceEnd(absl::string_view text, size_t begin) {
  while (begin < text.size()) {
    size_t pos = begin;
    if (!IsWhitespace(NextChar(text, &pos))) break;
    begin = pos;
  }
  return begin;
}

}  // namespace

LiteralSet::LiteralSet() : nodes_(1) {}

void LiteralSet::Add(absl::string_view literal, int32_t value) {
  if (literal.empty()) return;
  starts_[static_cast<unsigned char>(literal[0])] = true;
  int32_t node = 0;
  for (char c : literal) {
    const auto fresh = static_cast<int32_t>(nodes_.size());
    const auto [it, inserted] = nodes_[node].next.emplace(c, fresh);
    node = it->second;
    if (inserted) nodes_.emplace_back();
  }
  nodes_[node].value = value;
}

size_t LiteralSet::LongestAt(absl::string_view text, size_t pos, int32_t* value) const {
  if (!starts_[static_cast<unsigned char>(text[pos])]) return 0;
  size_t longest = 0;
  int32_t node = 0;
  for (size_t i = pos; i < text.size(); ++i) {
    const auto it = nodes_[node].next.find(text[i]);
    if (it == nodes_[node].next.end()) break;
    node = it->second;
    if (nodes_[node].value < 0) continue;
    *value = nodes_[node].value;
    longest = i + 1 - pos;
  }
  return longest;
}

absl::Status AddedTokens::Build(std::vector<AddedToken> tokens, const Normalizer* normalizer, bool split_special) {
  split_special_ = split_special;
  tokens_ = std::move(tokens);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    std::string form = tokens_[i].content;
    if (tokens_[i].normalized && normalizer != nullptr) {
      if (absl::Status status = normalizer->Apply(&form); !status.ok()) return status;
    }
    (tokens_[i].normalized ? normalized_ : raw_).Add(form, static_cast<int32_t>(i));
    normalized_forms_.push_back(std::move(form));
  }
  return absl::OkStatus();
}

absl::Status AddedTokens::SplitBy(const LiteralSet& set, const Piece& piece, absl::FunctionRef<void(int32_t)> on_token,
                                  PieceSink on_text) const {
  const absl::string_view text = piece.text;
  size_t covered = 0;
  const auto emit_text = [&](size_t end) {
    if (covered >= end) return absl::OkStatus();
    return on_text({text.substr(covered, end - covered), piece.at_start && covered == 0});
  };
  for (size_t pos = 0; !set.empty() && pos < text.size();) {
    int32_t index = -1;
    const size_t length = set.LongestAt(text, pos, &index);
    if (length == 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[index];
    size_t begin = pos;
    size_t end = pos + length;
    pos = end;  // the search goes on behind the match itself, also when rstrip takes more
    if (token.special && split_special_) continue;
    if (token.single_word && (EndsWithWord(text.substr(0, begin)) || StartsWithWord(text.substr(end)))) continue;
    // An earlier match may have taken the whitespace already.
    if (token.lstrip) begin = std::max(TrailingSpaceStart(text, std::min(covered, begin), begin), covered);
    if (token.rstrip) end = LeadingSpaceEnd(text, end);
    if (absl::Status status = emit_text(begin); !status.ok()) return status;
    on_token(token.id);
    covered = end;
  }
  return emit_text(text.size());
}

absl::Status AddedTokens::Extract(absl::string_view text, const Normalizer* normalizer,
                                  absl::FunctionRef<void(int32_t)> on_token, PieceSink on_text) const {
  if (text.empty()) return absl::OkStatus();
  return SplitBy(raw_, {text, true}, on_token, [&](const Piece& rest) {
    if (normalizer == nullptr) return SplitBy(normalized_, rest, on_token, on_text);
    std::string normal(rest.text);
    if (absl::Status status = normalizer->Apply(&normal); !status.ok()) return status;
    if (normal.empty()) return absl::OkStatus();
    return SplitBy(normalized_, {normal, rest.at_start}, on_token, on_text);
  });
}

}  // namespace quire::text
