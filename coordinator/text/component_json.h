// Reads the text-to-text components of a tokenizer.json: normalizer, pre_tokenizer, decoder, post_processor.
// A component that is not supported is an error that names it; nothing is skipped silently.
//
// All functions report through the node's status (json_node.h I1); what they return then must not be used.
#ifndef QUIRE_COORDINATOR_TEXT_COMPONENT_JSON_H_
#define QUIRE_COORDINATOR_TEXT_COMPONENT_JSON_H_

#include <vector>

#include "absl/types/optional.h"
#include "coordinator/text/json_node.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// Null when the node is null.
NormalizerPtr ParseNormalizer(const JsonNode& node);

// True when the last pre-tokenizer is a ByteLevel.
bool EndsInByteLevel(const JsonNode& node);

struct PreTokenizerOverrides {
  bool last_leaves_bytes = false;         // the last ByteLevel leaves raw bytes
  absl::optional<bool> add_prefix_space;  // for a ByteLevel that stands alone
};
std::vector<PreTokenizerPtr> ParsePreTokenizers(const JsonNode& node, const PreTokenizerOverrides& overrides);

// Fills decode_stages and decodes_byte_fallback.
void ParseDecoder(const JsonNode& node, TokenizerParts* parts);

SpecialTokenTemplate ParsePostProcessor(const JsonNode& node);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_COMPONENT_JSON_H_
