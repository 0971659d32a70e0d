// Byte-pair encoding: characters become symbols, symbols are merged. Covers the byte-level kinds (GPT-2, Llama 3,
// Qwen 2) and the byte-fallback kind (Llama 2). Source: TK models/bpe/model.rs.
//
// Immutable after Create, any thread. Holds a pointer to the vocabulary, which must outlive it.
#ifndef QUIRE_COORDINATOR_TEXT_BPE_MODEL_H_
#define QUIRE_COORDINATOR_TEXT_BPE_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/bpe_merges.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

struct BpeOptions {
  std::vector<std::pair<std::string, std::string>> merges;  // in order of rank
  absl::optional<std::string> unk_token;
  bool fuse_unk = false;       // a run of unknown characters gives one unknown token
  bool byte_fallback = false;  // an unknown character gives its bytes as <0xHH> tokens
  bool ignore_merges = false;  // a piece that is a token as a whole is that token, whatever the merges say
  bool byte_level = false;     // prepare EncodeBytes
  // Put before each character of a piece but the first, and behind its last one, to look for it in the vocabulary;
  // merges spell their tokens so, and the prefix of the right one is left out of their result. The prefix is ASCII.
  std::string continuing_prefix;
  std::string end_suffix;
  // Instead of `merges`: neighbours merge whose concatenation is a token, the one of lowest id first (tiktoken).
  bool merge_concatenations = false;
};

class BpeModel final : public TokenModel {
 public:
  // Errors: kInvalidArgument naming the merge whose parts or result the vocabulary lacks.
  static absl::StatusOr<std::unique_ptr<const TokenModel>> Create(const Vocabulary* vocabulary, BpeOptions options);

  absl::Status EncodePiece(absl::string_view piece, std::vector<int32_t>* ids) const override;
  bool encodes_bytes() const override { return encodes_bytes_; }
  void EncodeBytes(absl::string_view piece, std::vector<int32_t>* ids) const override;

 private:
  BpeModel(const Vocabulary* vocabulary, const BpeOptions& options);

  static constexpr int32_t kNoId = -1;

  bool has_affixes() const { return !continuing_prefix_.empty() || !end_suffix_.empty(); }

  absl::Status AddMerges(const BpeOptions& options);
  void AddConcatenations();
  void PrepareBytes();
  // The id of a single character, or kNoId.
  int32_t CharId(char32_t c) const;
  // The first symbol of a token that starts (or ends) with this character, for cutting; kNoId when not certain.
  int32_t EdgeSymbol(int32_t token, bool last) const;
  // The id of the character at piece[start, end), with the affixes that its place asks for in `spelled`; or kNoId.
  int32_t AffixedId(absl::string_view piece, size_t start, size_t end, std::string* spelled) const;
  // Appends <0xHH> for each byte of a character; false when one of them is not in the vocabulary.
  bool AppendByteTokens(absl::string_view bytes, std::vector<int32_t>* ids) const;

  const Vocabulary* const vocabulary_;
  const bool fuse_unk_;
  const bool byte_fallback_;
  const bool ignore_merges_;
  const std::string continuing_prefix_;
  const std::string end_suffix_;
  bool has_unk_token_ = false;
  bool encodes_bytes_ = false;
  int32_t unk_id_ = kNoId;
  std::array<int32_t, 256> fallback_ids_;  // <0xHH>
  std::array<int32_t, 256> byte_ids_;      // the byte-level alphabet
  std::vector<int32_t> plane_ids_;         // by character, U+0000 to U+FFFF
  absl::flat_hash_map<char32_t, int32_t> astral_ids_;
  std::unique_ptr<const BpeMerges> merges_;
  // Raw bytes of every token that its own bytes encode to: most words of a text are found here at once.
  absl::flat_hash_map<std::string, int32_t> whole_pieces_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_BPE_MODEL_H_
