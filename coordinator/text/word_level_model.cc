#include "coordinator/text/word_level_model.h"

#include <glog/logging.h>

namespace quire::text {

WordLevelModel::WordLevelModel(const Vocabulary* vocabulary, absl::string_view unk_token)
    : vocabulary_(vocabulary), unk_id_(vocabulary->Find(unk_token)) {}

absl::Status WordLevelModel::EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const {
  absl::optional<int32_t> id = vocabulary_->Find(piece);
  if (!id.has_value()) id = unk_id_;
  if (!id.has_value()) {
    return absl::FailedPreconditionError("the text needs the unknown token, and model.vocab lacks model.unk_token");
  }
  ids->push_back(*id);
  return absl::OkStatus();
}

void WordLevelModel::EncodeBytes(absl::string_view, std::vector<int32_t>*) const {
  LOG(FATAL) << "a word-level model takes no raw bytes";
}

}  // namespace quire::text
