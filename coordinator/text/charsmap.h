// The table of replacements that sentencepiece compiles a normalisation rule into: a double array over the bytes of
// what is replaced, whose leaves are offsets into text. Sources: SP normalizer.cc, TK spm_precompiled.
//
// Immutable after Parse, any thread.
//   I1  The table comes from a file and is trusted in nothing: every step of a search stays inside of it, and what it
//       gives is well-formed UTF-8 and replaces whole characters.
#ifndef QUIRE_COORDINATOR_TEXT_CHARSMAP_H_
#define QUIRE_COORDINATOR_TEXT_CHARSMAP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace quire::text {

class Charsmap final {
 public:
  // An empty blob replaces nothing. Errors: kInvalidArgument when it is cut short or not well formed.
  static absl::StatusOr<Charsmap> Parse(absl::string_view blob);

  struct Match {
    size_t length = 0;  // bytes replaced
    absl::string_view replacement;
  };
  // The longest rule that applies at the start of `text`, as sentencepiece applies it.
  absl::optional<Match> Longest(absl::string_view text) const;
  // The shortest one, as the `tokenizers` library applies it.
  absl::optional<Match> Shortest(absl::string_view text) const;

 private:
  absl::optional<Match> Find(absl::string_view text, bool longest) const;

  std::vector<uint32_t> units_;  // the double array
  std::string replacements_;     // each ended by a NUL
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_CHARSMAP_H_
