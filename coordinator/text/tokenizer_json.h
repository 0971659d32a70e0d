// Reads a whole tokenizer.json into the parts of a tokenizer, with the side files' word already known.
#ifndef QUIRE_COORDINATOR_TEXT_TOKENIZER_JSON_H_
#define QUIRE_COORDINATOR_TEXT_TOKENIZER_JSON_H_

#include "coordinator/text/json_node.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// Reports through the root's status (json_node.h I1); what it returns then must not be used.
TokenizerParts ParseTokenizer(const JsonNode& root, const TokenizerConfig& config);

// For tokenizer files that are not JSON: settles the added tokens and the tokens around a text by the side files.
// Errors: kInvalidArgument naming the file.
absl::Status ApplyTokenizerConfig(const std::string& path, const TokenizerConfig& config, TokenizerParts* parts);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKENIZER_JSON_H_
