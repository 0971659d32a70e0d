#include "coordinator/text/unicode.h"

#include <glog/logging.h>
#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

utf8proc_category_t Category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

int CombiningClass(char32_t c) { return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class; }

bool IsCompatibility(NormalForm form) { return form == NormalForm::kNfkc || form == NormalForm::kNfkd; }
bool IsComposed(NormalForm form) { return form == NormalForm::kNfc || form == NormalForm::kNfkc; }

// Text below this character is already in the form: no character there decomposes or composes with another.
char32_t FirstAffected(NormalForm form) { return form == NormalForm::kNfc ? 0x300 : 0x80; }

bool IsUnaffected(absl::string_view text, NormalForm form) {
  const char32_t limit = FirstAffected(form);
  for (size_t pos = 0; pos < text.size();) {
    if (NextChar(text, &pos) >= limit) return false;
  }
  return true;
}

// Full decomposition of every character, marks still in the order of the text.
std::vector<utf8proc_int32_t> Decompose(absl::string_view text, NormalForm form) {
  constexpr int kLongestDecomposition = 32;  // U+FDFA has 18 characters
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (IsCompatibility(form) ? UTF8PROC_COMPAT : 0));
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  utf8proc_int32_t parts[kLongestDecomposition];
  for (size_t pos = 0; pos < text.size();) {
    const char32_t c = NextChar(text, &pos);
    int boundary_class = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts,
                                                           kLongestDecomposition, options, &boundary_class);
    CHECK(count >= 0 && count <= kLongestDecomposition)
        << "decomposition of U+" << std::hex << static_cast<uint32_t>(c);
    chars.insert(chars.end(), parts, parts + count);
  }
  return chars;
}

// Canonical ordering. Not left to utf8proc, whose exchange sort is quadratic in a run of marks.
void OrderMarks(std::vector<utf8proc_int32_t>* chars) {
  for (size_t begin = 0; begin < chars->size(); ++begin) {
    if (CombiningClass((*chars)[begin]) == 0) continue;
    size_t end = begin + 1;
    while (end < chars->size() && CombiningClass((*chars)[end]) != 0) ++end;
    if (end - begin > 1) {
      std::stable_sort(chars->begin() + begin, chars->begin() + end,
                       [](utf8proc_int32_t a, utf8proc_int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    }
    begin = end;
  }
}

}  // namespace

bool IsWhitespace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsWordChar(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;
  // Circled and squared Latin letters are alphabetic although their category is So.
  if ((c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
      (c >= 0x1F170 && c <= 0x1F189)) {
    return true;
  }
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool IsNumeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const utf8proc_category_t category = Category(c);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
}

bool IsPunctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
  }
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
      return true;
    default:
      return false;
  }
}

MarkKind MarkOf(char32_t c) {
  const utf8proc_category_t category = Category(c);
  if (category == UTF8PROC_CATEGORY_MN) return MarkKind::kNonspacing;
  const bool is_mark = category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
  return is_mark ? MarkKind::kOther : MarkKind::kNone;
}

void AppendLower(char32_t c, std::string* out) {
  if (c == 0x130) {
    AppendChar('i', out);
    return AppendChar(0x307, out);
  }
  AppendChar(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

size_t GraphemeEnd(absl::string_view text, size_t pos) {
  auto before = static_cast<utf8proc_int32_t>(NextChar(text, &pos));
  utf8proc_int32_t state = 0;
  while (pos < text.size()) {
    size_t next = pos;
    const auto after = static_cast<utf8proc_int32_t>(NextChar(text, &next));
    if (utf8proc_grapheme_break_stateful(before, after, &state)) break;
    before = after;
    pos = next;
  }
  return pos;
}

std::string Normalize(absl::string_view text, NormalForm form) {
  if (IsUnaffected(text, form)) return std::string(text);
  std::vector<utf8proc_int32_t> chars = Decompose(text, form);
  OrderMarks(&chars);
  auto length = static_cast<utf8proc_ssize_t>(chars.size());
  if (IsComposed(form)) {
    length = utf8proc_normalize_utf32(chars.data(), length,
                                      static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    CHECK_GE(length, 0) << "utf8proc cannot compose text of " << chars.size() << " characters";
  }
  std::string out;
  out.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < length; ++i) AppendChar(static_cast<char32_t>(chars[i]), &out);
  return out;
}

}  // namespace quire::text
