// Rewrites a regular expression from the reference tokenizer's dialect (Oniguruma) into PCRE2's, keeping its meaning.
//
// Pure function, any thread. What differs and is rewritten:
//   D1  \s is the White_Space property, \w has marks and connector punctuation, \h is a hexadecimal digit, \v is the
//       vertical tab, \b follows \w.
//   D2  X{n,m}+ repeats the interval (it is not possessive) and X{n}? makes it optional (it is not lazy).
//   D3  The inline option m means "dot matches newline", PCRE2's s. `^` and `$` always match at lines: the caller
//       compiles with PCRE2_MULTILINE and newline LF.
//   D4  A class inside a class is a union.
// What has no equal form (set intersection, negated nested and POSIX classes, subroutine calls, callouts) is refused by
// name. For every character of Unicode 14 the classes then hold what the reference's hold; newer characters are unknown
// to PCRE2 10.42.
#ifndef QUIRE_COORDINATOR_TEXT_REGEX_SYNTAX_H_
#define QUIRE_COORDINATOR_TEXT_REGEX_SYNTAX_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::text {

// Returns the PCRE2 form. Errors: kUnimplemented for constructs without an equal form, kInvalidArgument for broken
// syntax; the message holds the byte offset in the pattern. Requires: well-formed UTF-8.
absl::StatusOr<std::string> TranslateRegex(absl::string_view pattern);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_REGEX_SYNTAX_H_
