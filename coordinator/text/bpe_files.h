// Byte-level BPE from files that hold the table only: vocab.json with merges.txt, and tiktoken's. How the text is cut
// is the family's, known by the tokenizer_class of tokenizer_config.json.
//
// Pure functions, any thread. `path` is for messages. Errors: kInvalidArgument naming file and entry; kUnimplemented
// naming the class of a family that is not known.
#ifndef QUIRE_COORDINATOR_TEXT_BPE_FILES_H_
#define QUIRE_COORDINATOR_TEXT_BPE_FILES_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// GPT-2's kind, or Qwen2's by its class.
absl::StatusOr<TokenizerParts> MakeVocabMergesTokenizer(const std::string& path, const nlohmann::json& vocab,
                                                        absl::string_view merges, const TokenizerConfig& config);

// True for text that starts like a tiktoken file. No sentencepiece model does.
bool LooksLikeTiktoken(absl::string_view bytes);

// Lines of a token's bytes in base64, a space and its id. Qwen's kind (also without a class, when the file is
// qwen.tiktoken) or GLM-4's. Fills in `config` the special tokens that those families keep in code.
absl::StatusOr<TokenizerParts> MakeTiktokenTokenizer(const std::string& path, absl::string_view bytes,
                                                     TokenizerConfig* config);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_BPE_FILES_H_
