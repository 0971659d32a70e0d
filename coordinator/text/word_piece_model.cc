#include "coordinator/text/word_piece_model.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

int64_t NumChars(absl::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += CharLength(text[at])) ++count;
  return count;
}

bool IsInsideChar(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

}  // namespace

WordPieceModel::WordPieceModel(const Vocabulary* vocabulary, const WordPieceOptions& options)
    : vocabulary_(vocabulary), options_(options), unk_id_(vocabulary->Find(options.unk_token)) {
  for (int32_t id = 0; id < vocabulary->end_id(); ++id) {
    if (vocabulary->Contains(id)) longest_ = std::max(longest_, vocabulary->Text(id).size());
  }
}

absl::Status WordPieceModel::EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const {
  const size_t before = ids->size();
  if (NumChars(piece) <= options_.max_input_chars && Cut(piece, ids)) return absl::OkStatus();
  ids->resize(before);
  if (!unk_id_.has_value()) {
    return absl::FailedPreconditionError("the text needs the unknown token, and model.vocab lacks model.unk_token");
  }
  ids->push_back(*unk_id_);
  return absl::OkStatus();
}

bool WordPieceModel::Cut(absl::string_view piece, std::vector<int32_t>* ids) const {
  std::string candidate;
  for (size_t begin = 0; begin < piece.size();) {
    candidate = begin > 0 ? options_.continuing_prefix : "";
    if (candidate.size() > longest_) return false;
    const size_t prefix_size = candidate.size();
    size_t length = std::min(piece.size() - begin, longest_ - prefix_size);
    absl::optional<int32_t> id;
    for (; length > 0 && !id.has_value(); --length) {
      const size_t end = begin + length;
      if (end < piece.size() && IsInsideChar(piece[end])) continue;
      candidate.resize(prefix_size);
      absl::StrAppend(&candidate, piece.substr(begin, length));
      id = vocabulary_->Find(candidate);
      if (id.has_value()) break;
    }
    if (!id.has_value()) return false;
    ids->push_back(*id);
    begin += length;
  }
  return true;
}

void WordPieceModel::EncodeBytes(absl::string_view, std::vector<int32_t>*) const {
  LOG(FATAL) << "a word piece model takes no raw bytes";
}

}  // namespace quire::text
