#include "coordinator/text/unigram_model.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

// How far below the worst token an unknown character scores.
constexpr double kUnkPenalty = 10;

}  // namespace

UnigramModel::UnigramModel(const Vocabulary* vocabulary, UnigramOptions options)
    : vocabulary_(vocabulary), options_(std::move(options)) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double min_score = kInfinity;
  // Not a negative number: where no piece scores above it, as in all trained models, the reference starts from this.
  max_score_ = std::numeric_limits<float>::min();
  for (int32_t id = 0; id < vocabulary_->end_id(); ++id) {
    if (options_.kinds[id] != PieceKind::kNotInText) trie_.Add(vocabulary_->Text(id), id);
    if (options_.kinds[id] != PieceKind::kNormal) continue;
    min_score = std::min(min_score, options_.scores[id]);
    max_score_ = std::max(max_score_, options_.scores[id]);
  }
  if (min_score == kInfinity) min_score = 0;  // no piece of that kind
  unk_score_ = min_score - kUnkPenalty;
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] =
        options_.byte_fallback ? vocabulary_->Find(absl::StrFormat("<0x%02X>", byte)).value_or(kNoId) : kNoId;
  }
}

absl::StatusOr<std::unique_ptr<const TokenModel>> UnigramModel::Create(const Vocabulary* vocabulary,
                                                                       UnigramOptions options) {
  const auto size = static_cast<size_t>(vocabulary->end_id());
  CHECK_EQ(options.scores.size(), size);
  CHECK_EQ(options.kinds.size(), size);
  for (size_t id = 0; id < size; ++id) {
    if (std::isfinite(options.scores[id])) continue;
    return absl::InvalidArgumentError(absl::StrCat("the score of token ", id, " is not finite"));
  }
  if (options.unk_id.has_value() && (*options.unk_id < 0 || *options.unk_id >= vocabulary->end_id())) {
    return absl::InvalidArgumentError(absl::StrCat("the unknown token has id ", *options.unk_id, " of ", size));
  }
  return std::unique_ptr<const TokenModel>(new UnigramModel(vocabulary, std::move(options)));
}

double UnigramModel::Sum(double before, int32_t id, size_t length) const {
  // sentencepiece wants a user-defined piece to win always: it scores as so many of the best piece.
  if (id != kNoId && options_.kinds[id] == PieceKind::kUserDefined) {
    return static_cast<float>(length) * max_score_ - 0.1 + before;
  }
  const double score = id == kNoId ? unk_score_ : options_.scores[id];
  if (options_.rules == UnigramRules::kTokenizers) return score + before;
  return static_cast<float>(score) + static_cast<float>(before);
}

absl::Status UnigramModel::EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const {
  CHECK_LT(piece.size(), size_t{1} << 31);
  const bool single = options_.rules == UnigramRules::kSentencePiece;
  std::vector<BestEnd> ends(piece.size() + 1);
  for (size_t pos = 0; pos < piece.size();) {
    const size_t char_length = CharLength(piece[pos]);
    const double before = ends[pos].score;
    const auto offer = [&](size_t length, int32_t id) {
      BestEnd& end = ends[pos + length];
      const double score = Sum(before, id, length);
      if (end.length != 0 && score <= end.score) return;
      end = {single ? static_cast<float>(score) : score, static_cast<uint32_t>(length), id};
    };
    bool char_is_known = false;
    trie_.ForEachPrefix(piece, pos, [&](size_t length, int32_t id) {
      offer(length, id);
      if (length == char_length) char_is_known = true;
    });
    if (!char_is_known) offer(char_length, kNoId);
    pos += char_length;
  }

  std::vector<size_t> cuts;  // ends of tokens, last first
  for (size_t end = piece.size(); end > 0; end -= ends[end].length) cuts.push_back(end);
  size_t run_begin = 0;  // unknown text from here to `covered` is not written yet
  size_t covered = 0;
  const auto flush = [&] {
    return run_begin == covered ? absl::OkStatus() : AppendUnknown(piece.substr(run_begin, covered - run_begin), ids);
  };
  for (auto cut = cuts.rbegin(); cut != cuts.rend(); ++cut) {
    const int32_t id = ends[*cut].id;
    // The unknown token itself, spelled out in the text, counts as unknown.
    if (id != kNoId && id != options_.unk_id) {
      if (absl::Status status = flush(); !status.ok()) return status;
      ids->push_back(id);
      run_begin = *cut;
    }
    covered = *cut;
  }
  return flush();
}

absl::Status UnigramModel::AppendUnknown(absl::string_view run, std::vector<int32_t>* ids) const {
  if (options_.rules == UnigramRules::kTokenizers) {
    // Characters that are unknown by themselves may be a token together, one that scored worse than they did.
    if (const absl::optional<int32_t> id = vocabulary_->Find(run); id.has_value()) {
      ids->push_back(*id);
      return absl::OkStatus();
    }
  }
  const auto has_token = [this](char byte) { return byte_ids_[static_cast<uint8_t>(byte)] != kNoId; };
  if (options_.byte_fallback && std::all_of(run.begin(), run.end(), has_token)) {
    for (char byte : run) ids->push_back(byte_ids_[static_cast<uint8_t>(byte)]);
    return absl::OkStatus();
  }
  if (!options_.unk_id.has_value()) {
    return absl::FailedPreconditionError("the text needs the unknown token, and the model has none");
  }
  ids->push_back(*options_.unk_id);
  return absl::OkStatus();
}

void UnigramModel::EncodeBytes(absl::string_view, std::vector<int32_t>*) const {
  LOG(FATAL) << "a unigram model takes no raw bytes";
}

}  // namespace quire::text
