// UTF-8 at the level of single characters: checking, walking, appending, and the lossy repair that decoding needs.
//
// Pure functions, any thread.
//   I1  Only NextChar requires well-formed input; every other function takes any bytes.
//   I2  A malformed stretch is replaced by one U+FFFD per maximal subpart (Unicode 15, section 3.9), which is what the
//       reference's lossy conversion does.
#ifndef QUIRE_COORDINATOR_TEXT_UTF8_H_
#define QUIRE_COORDINATOR_TEXT_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quire::text {

constexpr char kReplacementCharacter[] = "\xEF\xBF\xBD";

// Byte offset of the first byte that is not part of well-formed UTF-8; npos when the whole text is well formed.
size_t FindInvalidUtf8(absl::string_view text);

// Bytes in the character that starts with `lead`. Requires: `lead` starts a well-formed character.
inline size_t CharLength(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

// Returns the character at text[*pos] and moves *pos behind it. Requires: well-formed text, *pos on a character.
char32_t NextChar(absl::string_view text, size_t* pos);

// Appends one character as UTF-8. Requires: a Unicode scalar value.
void AppendChar(char32_t c, std::string* out);

// Appends `bytes` to `out` with each malformed stretch replaced (I2) and returns the number of bytes consumed: all of
// them, except that without `at_end` an incomplete character at the end is left for the caller to complete.
size_t AppendLossy(absl::string_view bytes, bool at_end, std::string* out);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_UTF8_H_
