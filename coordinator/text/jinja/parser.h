// Tokens to a tree: the grammar of Jinja2 without inheritance, imports and recursive loops.
//
// Pure; any thread.
//   P1  Recursion is bounded by kParseDepthMax, whatever the template.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_PARSER_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_PARSER_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/lexer.h"

namespace quire::jinja {

constexpr int kParseDepthMax = 120;

// Errors: kInvalidArgument or kUnimplemented, "line N: what".
absl::StatusOr<Body> Parse(std::vector<Token> tokens);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_PARSER_H_
