// Template text to tokens, with the white space around tags handled as Jinja2 does under trim_blocks and lstrip_blocks.
//
// Pure; any thread.
//   L1  A tag's end is found outside brackets only, so that `{{ {"a": {}} }}` is one tag.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_LEXER_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::jinja {

enum class TokenKind {
  kData,
  kOutputBegin,
  kOutputEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInt,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // kData, kName, kString (without escapes), kOperator
  int64_t integer = 0;
  double number = 0;
};

// The last token is kEnd. Errors: kInvalidArgument "line N: what". Requires: well-formed UTF-8.
absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view source);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_LEXER_H_
