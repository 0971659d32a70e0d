// Characters as Python's str sees them: which are white space, which print, upper and lower case.
//
// Pure functions, any thread. All text is well-formed UTF-8.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_CHARACTERS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_CHARACTERS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace quire::jinja {

// What str.strip() and re's \s take.
bool IsSpace(char32_t c);
// Where str.splitlines() splits.
bool IsLineBreak(char32_t c);
// False for what repr() escapes.
bool IsPrintable(char32_t c);
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsAlphabetic(char32_t c);
bool IsDecimal(char32_t c);

// Character by character, but for the sharp s, whose upper case is two letters.
std::string ToUpper(absl::string_view text);
std::string ToLower(absl::string_view text);

absl::string_view StripLeft(absl::string_view text);
absl::string_view StripRight(absl::string_view text);
// The same for the characters of `chars`.
absl::string_view StripLeft(absl::string_view text, absl::string_view chars);
absl::string_view StripRight(absl::string_view text, absl::string_view chars);

// Where `part` is found first, from byte `from` on; npos where it is not. Cost: linear, whatever the texts are.
size_t FindText(absl::string_view text, absl::string_view part, size_t from = 0);

std::vector<absl::string_view> Characters(absl::string_view text);

// The byte at which character `index` starts; the size where there are fewer.
size_t ByteOffset(absl::string_view text, size_t index);
// How many characters start in the text's first `bytes` bytes.
size_t CharIndex(absl::string_view text, size_t bytes);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_CHARACTERS_H_
