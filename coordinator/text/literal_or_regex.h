// A pattern of a tokenizer.json: either a literal string or a regular expression.
//
// Immutable, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_LITERAL_OR_REGEX_H_
#define QUIRE_COORDINATOR_TEXT_LITERAL_OR_REGEX_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/regex.h"

namespace quire::text {

class LiteralOrRegex final {
 public:
  // Requires: literal not empty.
  static LiteralOrRegex Literal(std::string literal);
  static LiteralOrRegex Expression(std::unique_ptr<const Regex> regex);

  // Calls `visit` for each match from left to right, stopping when it returns an error. Errors: kResourceExhausted.
  absl::Status ForEachMatch(absl::string_view text, absl::FunctionRef<absl::Status(TextSpan)> visit) const;

  // Appends `text` to `out` with `content` in the place of every match.
  absl::Status Replace(absl::string_view text, absl::string_view content, std::string* out) const;

  // The literal; empty when this is an expression.
  const std::string& literal() const { return literal_; }

 private:
  LiteralOrRegex() = default;

  std::string literal_;
  std::unique_ptr<const Regex> regex_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_LITERAL_OR_REGEX_H_
