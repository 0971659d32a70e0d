// BPE as sentencepiece does it: any two neighbours merge whose concatenation is a piece, the best score first.
// Source: SP bpe_model.cc.
//
// Immutable after Create, any thread. Holds a pointer to the vocabulary, which must outlive it.
//   I1  A symbol is a user-defined piece, which merges with nothing, or one character, whether it is a piece or not.
#ifndef QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_BPE_H_
#define QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_BPE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/bpe_merges.h"
#include "coordinator/text/piece_trie.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/unigram_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

struct SentencePieceBpeOptions {
  std::vector<double> scores;    // by token id, finite
  std::vector<PieceKind> kinds;  // by token id
  int32_t unk_id = 0;
  bool byte_fallback = false;
};

class SentencePieceBpe final : public TokenModel {
 public:
  // Requires: scores and kinds for every id of the vocabulary, which has no holes.
  SentencePieceBpe(const Vocabulary* vocabulary, const SentencePieceBpeOptions& options);

  absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const override;
  bool encodes_bytes() const override { return false; }
  void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  static constexpr int32_t kNoId = -1;

  // A stretch of text that merges with nothing: a user-defined piece, or a character that no piece has.
  struct Other {
    absl::string_view text;
    int32_t user_defined_id = kNoId;
  };

  void AddMerges(const SentencePieceBpeOptions& options);
  // Cuts the piece into symbols; what has no symbol of its own gets one behind all others, in order.
  void AppendSymbols(absl::string_view piece, std::vector<int32_t>* symbols, std::vector<Other>* others) const;
  // Appends what an unknown character gives.
  void AppendUnknown(absl::string_view character, bool after_unknown, std::vector<int32_t>* ids) const;

  const Vocabulary* const vocabulary_;
  const int32_t unk_id_;
  std::array<int32_t, 256> byte_ids_;
  PieceTrie user_defined_;
  std::array<bool, 256> user_defined_starts_ = {};
  // Symbols below vocabulary_->end_id() are pieces. Behind them come characters that occur in pieces only.
  absl::flat_hash_map<std::string, int32_t> symbols_;
  std::vector<std::string> loose_chars_;
  std::unique_ptr<const BpeMerges> merges_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_BPE_H_
