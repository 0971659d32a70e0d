// A piece is a token as a whole or the unknown token.
//
// Immutable, any thread. Holds a pointer to the vocabulary, which must outlive it.
#ifndef QUIRE_COORDINATOR_TEXT_WORD_LEVEL_MODEL_H_
#define QUIRE_COORDINATOR_TEXT_WORD_LEVEL_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

class WordLevelModel final : public TokenModel {
 public:
  // The vocabulary may lack the unknown token: then texts that need it are refused.
  WordLevelModel(const Vocabulary* vocabulary, absl::string_view unk_token);

  absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const override;
  bool encodes_bytes() const override { return false; }
  void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  const Vocabulary* const vocabulary_;
  const absl::optional<int32_t> unk_id_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_WORD_LEVEL_MODEL_H_
