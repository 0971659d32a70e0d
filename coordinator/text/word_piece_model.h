// The longest token that a piece starts with, then the longest that what is left starts with, behind a prefix; unknown as
// a whole where that fails.
//
// Immutable, any thread. Holds a pointer to the vocabulary, which must outlive it.
//   W1  The work of a piece is at most its characters times those of the longest token.
#ifndef QUIRE_COORDINATOR_TEXT_WORD_PIECE_MODEL_H_
#define QUIRE_COORDINATOR_TEXT_WORD_PIECE_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

struct WordPieceOptions {
  std::string unk_token = "[UNK]";
  std::string continuing_prefix = "##";
  int64_t max_input_chars = 100;  // longer pieces are unknown
};

class WordPieceModel final : public TokenModel {
 public:
  // The vocabulary may lack the unknown token: then texts that need it are refused.
  WordPieceModel(const Vocabulary* vocabulary, const WordPieceOptions& options);

  absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const override;
  bool encodes_bytes() const override { return false; }
  void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  // Appends the tokens of the piece; false, and some of them, where it cannot be cut into tokens.
  bool Cut(absl::string_view piece, std::vector<int32_t>* ids) const;

  const Vocabulary* const vocabulary_;
  const WordPieceOptions options_;
  const absl::optional<int32_t> unk_id_;
  size_t longest_ = 0;  // bytes of the longest token
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_WORD_PIECE_MODEL_H_
