// Reads the side files of a tokenizer.json: tokenizer_config.json and special_tokens_map.json.
#ifndef QUIRE_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_
#define QUIRE_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// Reads what the directory has; a missing file adds nothing. Keys that change no ids (clean_up_tokenization_spaces,
// model_max_length, chat_template) are left to others. Errors: kInvalidArgument naming file and key.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& model_dir);

// Reads added_tokens.json, {"token": id}, which older directories have. What tokenizer_config.json says of a token
// stands. Errors: kInvalidArgument naming file and key.
absl::Status ReadAddedTokens(const std::string& model_dir, TokenizerConfig* config);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKENIZER_CONFIG_H_
