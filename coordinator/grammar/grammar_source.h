// What a client asks of the form of its output. Plain data; leaf.
#ifndef QUIRE_COORDINATOR_GRAMMAR_GRAMMAR_SOURCE_H_
#define QUIRE_COORDINATOR_GRAMMAR_GRAMMAR_SOURCE_H_

#include <cstdint>
#include <string>

namespace quire::grammar {

enum class GrammarKind : uint8_t { kJsonObject, kJsonSchema, kRegex, kEbnf, kStructuralTag };

struct GrammarSource {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string text;   // empty for kJsonObject
  std::string field;  // of the request, for errors
};

}  // namespace quire::grammar

#endif  // QUIRE_COORDINATOR_GRAMMAR_GRAMMAR_SOURCE_H_
