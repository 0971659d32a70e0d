// The unigram model: of all ways to cut a piece into tokens, the one whose scores add up highest.
// Sources: TK models/unigram/model.rs, SP unigram_model.cc.
//
// Immutable after Create, any thread. Holds a pointer to the vocabulary, which must outlive it.
//   I1  Of two ways that score the same the first found counts, in the reference's order and arithmetic: tokenizer.json
//       adds scores in double precision, sentencepiece in single.
//   I2  Cost is O(n * longest token) for n bytes.
#ifndef QUIRE_COORDINATOR_TEXT_UNIGRAM_MODEL_H_
#define QUIRE_COORDINATOR_TEXT_UNIGRAM_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/piece_trie.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

enum class PieceKind : uint8_t { kNormal, kUserDefined, kNotInText };

enum class UnigramRules { kTokenizers, kSentencePiece };

struct UnigramOptions {
  UnigramRules rules = UnigramRules::kTokenizers;
  std::vector<double> scores;    // by token id
  std::vector<PieceKind> kinds;  // by token id
  absl::optional<int32_t> unk_id;
  bool byte_fallback = false;  // unknown text gives its bytes as <0xHH> tokens
};

class UnigramModel final : public TokenModel {
 public:
  // Errors: kInvalidArgument when a score is not finite, or the unknown token is outside the vocabulary.
  // Requires: scores and kinds for every id of the vocabulary, which has no holes.
  static absl::StatusOr<std::unique_ptr<const TokenModel>> Create(const Vocabulary* vocabulary, UnigramOptions options);

  absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const override;
  bool encodes_bytes() const override { return false; }
  void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  static constexpr int32_t kNoId = -1;

  // How the best cut of the text up to some byte ends.
  struct BestEnd {
    double score = 0;
    uint32_t length = 0;  // of the last token; 0: not reached
    int32_t id = kNoId;   // kNoId: unknown
  };

  UnigramModel(const Vocabulary* vocabulary, UnigramOptions options);
  double Sum(double before, int32_t id, size_t length) const;
  // Appends the tokens of a run of text that the model does not know.
  absl::Status AppendUnknown(absl::string_view run, std::vector<int32_t>* ids) const;

  const Vocabulary* const vocabulary_;
  const UnigramOptions options_;
  double max_score_ = 0;  // of the pieces of kind kNormal, at least the smallest positive float
  double unk_score_ = 0;
  std::array<int32_t, 256> byte_ids_;
  PieceTrie trie_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_UNIGRAM_MODEL_H_
