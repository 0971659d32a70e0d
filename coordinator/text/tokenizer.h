// Text to token ids and back, as the model's own tokenizer file says.
//
// Immutable after Load; every method may run on any number of threads at once.
//   I1  Encode gives the ids that the reference (PyPI `tokenizers`, `sentencepiece`, `tiktoken`) gives for the same file and text, Decode its text.
//   I2  Encode's cost is near-linear in the text whatever the text is.
//   I3  Decode accepts any ids; those without a token are skipped, as the reference does.
#ifndef QUIRE_COORDINATOR_TEXT_TOKENIZER_H_
#define QUIRE_COORDINATOR_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"

namespace quire::text {

class DecodePipeline;
struct TokenizerConfig;
struct TokenizerParts;

class Tokenizer final {
 public:
  // Reads the tokenizer's file (tokenizer_files.h says which) and, where they exist, tokenizer_config.json and
  // special_tokens_map.json. Errors: kNotFound when the directory has none; kInvalidArgument for a broken file; kUnimplemented for a component that
  // is not supported. The message names the file and the JSON key.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& model_dir);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Appends the ids of `text`, within the special tokens that the post-processor puts around a text if asked to.
  // Errors: kInvalidArgument with "invalid UTF-8" and the byte offset; kFailedPrecondition when the text needs an
  // unknown token that the vocabulary lacks; kResourceExhausted when a splitting expression gives up.
  absl::Status Encode(absl::string_view text, bool add_special_tokens, std::vector<int32_t>* ids) const;

  // The text of a whole token sequence, always well-formed UTF-8.
  std::string Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const;

  // One past the largest id, added tokens included.
  int32_t vocab_size() const;
  absl::optional<int32_t> bos_id() const;
  absl::optional<int32_t> eos_id() const;
  // True when the id has a token. Ids below vocab_size may lack one.
  bool Contains(int32_t id) const;
  bool IsSpecial(int32_t id) const;
  // True when the id's token is an added one, special or not.
  bool IsAdded(int32_t id) const;
  absl::optional<int32_t> TokenToId(absl::string_view token) const;
  // The token as the vocabulary spells it; empty when the id has none.
  std::string TokenText(int32_t id) const;
  // The bytes that the token stands for in a text, not always whole characters; empty when the id has none.
  std::string TokenBytes(int32_t id) const;

  // For IncrementalDecoder: the token after the per-token stages of the pipeline. Requires: Contains(id).
  absl::string_view MappedToken(int32_t id) const;
  const DecodePipeline& decode_pipeline() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<const Impl> impl);

  const std::unique_ptr<const Impl> impl_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKENIZER_H_
