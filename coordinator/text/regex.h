// A compiled regular expression for splitting and replacing. Wraps PCRE2 with JIT; patterns are in the reference's
// dialect (regex_syntax.h).
//
// Immutable after Compile; Find may run on any number of threads (each has its own match data and JIT stack).
//   I1  A match that would take too much work ends in an error, never in a stall or a stack overflow.
#ifndef QUIRE_COORDINATOR_TEXT_REGEX_H_
#define QUIRE_COORDINATOR_TEXT_REGEX_H_

#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

struct pcre2_real_code_8;

namespace quire::text {

struct TextSpan {
  size_t begin = 0;  // bytes
  size_t end = 0;
};

class Regex final {
 public:
  // Errors: kInvalidArgument or kUnimplemented naming the pattern.
  static absl::StatusOr<std::unique_ptr<const Regex>> Compile(absl::string_view pattern);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Finds the first match at or after `from`. Returns true and fills `match` when there is one. Requires: well-formed
  // UTF-8, `from` on a character border. Errors: kResourceExhausted (I1).
  absl::StatusOr<bool> Find(absl::string_view text, size_t from, TextSpan* match) const;

 private:
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}
  pcre2_real_code_8* const code_;
};

// Walks the matches of a regex in a text one after the other, skipping an empty match right behind the last match.
class RegexMatches final {
 public:
  RegexMatches(const Regex& regex, absl::string_view text) : regex_(regex), text_(text) {}
  // Returns false when there are no more matches.
  absl::StatusOr<bool> Next(TextSpan* match);

 private:
  const Regex& regex_;
  const absl::string_view text_;
  size_t from_ = 0;
  absl::optional<size_t> last_end_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_REGEX_H_
