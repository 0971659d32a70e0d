#include "coordinator/text/literal_or_regex.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::text {

LiteralOrRegex LiteralOrRegex::Literal(std::string literal) {
  CHECK(!literal.empty());
  LiteralOrRegex pattern;
  pattern.literal_ = std::move(literal);
  return pattern;
}

LiteralOrRegex LiteralOrRegex::Expression(std::unique_ptr<const Regex> regex) {
  CHECK(regex != nullptr);
  LiteralOrRegex pattern;
  pattern.regex_ = std::move(regex);
  return pattern;
}

absl::Status LiteralOrRegex::ForEachMatch(absl::string_view text,
                                          absl::FunctionRef<absl::Status(TextSpan)> visit) const {
  if (regex_ == nullptr) {
    for (size_t at = text.find(literal_); at != absl::string_view::npos;
         at = text.find(literal_, at + literal_.size())) {
      if (absl::Status status = visit({at, at + literal_.size()}); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  RegexMatches matches(*regex_, text);
  TextSpan match;
  while (true) {
    const absl::StatusOr<bool> found = matches.Next(&match);
    if (!found.ok()) return found.status();
    if (!*found) return absl::OkStatus();
    if (absl::Status status = visit(match); !status.ok()) return status;
  }
}

absl::Status LiteralOrRegex::Replace(absl::string_view text, absl::string_view content, std::string* out) const {
  size_t copied = 0;
  const absl::Status status = ForEachMatch(text, [&](TextSpan match) {
    absl::StrAppend(out, text.substr(copied, match.begin - copied), content);
    copied = match.end;
    return absl::OkStatus();
  });
  absl::StrAppend(out, text.substr(copied));
  return status;
}

}  // namespace quire::text
