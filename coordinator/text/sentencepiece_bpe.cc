#include "coordinator/text/sentencepiece_bpe.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>

#include "absl/strings/str_format.h"
#include "coordinator/text/concatenation_merges.h"
#include "coordinator/text/utf8.h"

namespace quire::text {

SentencePieceBpe::SentencePieceBpe(const Vocabulary* vocabulary, const SentencePieceBpeOptions& options)
    : vocabulary_(vocabulary), unk_id_(options.unk_id) {
  CHECK_EQ(options.scores.size(), static_cast<size_t>(vocabulary->end_id()));
  CHECK_EQ(options.kinds.size(), static_cast<size_t>(vocabulary->end_id()));
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] =
        options.byte_fallback ? vocabulary_->Find(absl::StrFormat("<0x%02X>", byte)).value_or(kNoId) : kNoId;
  }
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    const std::string& text = vocabulary_->Text(id);
    if (options.kinds[id] == PieceKind::kNormal) symbols_.emplace(text, id);
    if (options.kinds[id] != PieceKind::kUserDefined || text.empty()) continue;
    user_defined_.Add(text, id);
    user_defined_starts_[static_cast<uint8_t>(text[0])] = true;
  }
  AddMerges(options);
}

void SentencePieceBpe::AddMerges(const SentencePieceBpeOptions& options) {
  std::vector<double> scores = options.scores;
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<MergeResult> results;
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    if (options.kinds[id] != PieceKind::kNormal) continue;
    const absl::string_view text = vocabulary_->Text(id);
    const auto place = std::lower_bound(scores.begin(), scores.end(), options.scores[id], std::greater<>());
    results.push_back({text, id, static_cast<int32_t>(place - scores.begin())});
    for (size_t pos = 0; pos < text.size();) {
      const size_t length = CharLength(text[pos]);
      const auto next = vocabulary_->end_id() + static_cast<int32_t>(loose_chars_.size());
      if (symbols_.emplace(text.substr(pos, length), next).second) loose_chars_.emplace_back(text.substr(pos, length));
      pos += length;
    }
  }
  const auto find = [this](absl::string_view text) {
    const auto it = symbols_.find(text);
    return it == symbols_.end() ? kNoId : it->second;
  };
  merges_ = std::make_unique<const BpeMerges>(ConcatenationMerges(results, find));
}

void SentencePieceBpe::AppendSymbols(absl::string_view piece, std::vector<int32_t>* symbols,
                                     std::vector<Other>* others) const {
  const auto first_other = vocabulary_->end_id() + static_cast<int32_t>(loose_chars_.size());
  for (size_t pos = 0; pos < piece.size();) {
    size_t length = 0;
    int32_t id = kNoId;
    if (user_defined_starts_[static_cast<uint8_t>(piece[pos])]) {
      user_defined_.ForEachPrefix(piece, pos, [&](size_t longer, int32_t found) {
        length = longer;
        id = found;
      });
    }
    if (id == kNoId) length = CharLength(piece[pos]);
    const absl::string_view text = piece.substr(pos, length);
    pos += length;
    if (id == kNoId) {
      if (const auto it = symbols_.find(text); it != symbols_.end()) {
        symbols->push_back(it->second);
        continue;
      }
    }
    symbols->push_back(first_other + static_cast<int32_t>(others->size()));
    others->push_back({text, id});
  }
}

absl::Status SentencePieceBpe::EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const {
  const int32_t end_id = vocabulary_->end_id();
  const auto first_other = end_id + static_cast<int32_t>(loose_chars_.size());
  if (piece.size() > static_cast<size_t>((1 << 30) - first_other)) {
    return absl::ResourceExhaustedError(absl::StrFormat("a text of %d bytes", piece.size()));
  }
  std::vector<int32_t> symbols;
  std::vector<Other> others;
  symbols.reserve(piece.size());
  AppendSymbols(piece, &symbols, &others);
  merges_->MergeAll(0, &symbols);
  bool after_unknown = false;
  for (int32_t symbol : symbols) {
    if (symbol < end_id) {
      ids->push_back(symbol);
      after_unknown = false;
      continue;
    }
    const Other other =
        symbol < first_other ? Other{loose_chars_[symbol - end_id], kNoId} : others[symbol - first_other];
    if (other.user_defined_id != kNoId) {
      ids->push_back(other.user_defined_id);
    } else {
      AppendUnknown(other.text, after_unknown, ids);
    }
    after_unknown = other.user_defined_id == kNoId;
  }
  return absl::OkStatus();
}

void SentencePieceBpe::AppendUnknown(absl::string_view character, bool after_unknown, std::vector<int32_t>* ids) const {
  const auto has_token = [this](char byte) { return byte_ids_[static_cast<uint8_t>(byte)] != kNoId; };
  if (std::all_of(character.begin(), character.end(), has_token)) {
    for (char byte : character) ids->push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  } else if (!after_unknown) {
    ids->push_back(unk_id_);
  }
}

void SentencePieceBpe::EncodeBytes(absl::string_view, std::vector<int32_t>*) const {
  LOG(FATAL) << "a sentencepiece model takes no raw bytes";
}

}  // namespace quire::text
