// Character classes and normal forms as the reference tokenizer sees them. Wraps utf8proc (Unicode 15).
//
// Pure functions, any thread. All text is well-formed UTF-8.
#ifndef QUIRE_COORDINATOR_TEXT_UNICODE_H_
#define QUIRE_COORDINATOR_TEXT_UNICODE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace quire::text {

// White_Space property (25 characters).
bool IsWhitespace(char32_t c);

// A word character: alphabetic, mark, decimal digit, connector punctuation or join control.
bool IsWordChar(char32_t c);

// General category Nd, Nl or No.
bool IsNumeric(char32_t c);

// ASCII punctuation (symbols such as '+' too) or general category P*.
bool IsPunctuation(char32_t c);

// General category Mn; Mc or Me.
enum class MarkKind { kNone, kNonspacing, kOther };
MarkKind MarkOf(char32_t c);

// Appends the character's lower case, which is two characters for U+0130. No rule looks at its neighbours.
void AppendLower(char32_t c, std::string* out);

// Where the user-perceived character (extended grapheme cluster) that starts at text[pos] ends. Requires: pos < size.
size_t GraphemeEnd(absl::string_view text, size_t pos);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Brings the text into the normal form. Cost: O(n log n) in the longest run of combining marks, so that a hostile run
// of marks cannot stall the caller.
std::string Normalize(absl::string_view text, NormalForm form);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_UNICODE_H_
