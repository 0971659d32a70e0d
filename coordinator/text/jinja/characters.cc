#include "coordinator/text/jinja/characters.h"

#include <string.h>
#include <utf8proc.h>

#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

utf8proc_category_t Category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Where the character before byte `end` starts. Requires: end > 0.
size_t PreviousStart(absl::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

template <typename Drop>
absl::string_view DropLeft(absl::string_view text, const Drop& drop) {
  size_t begin = 0;
  while (begin < text.size()) {
    size_t next = begin;
    if (!drop(text::NextChar(text, &next))) break;
    begin = next;
  }
  return text.substr(begin);
}

template <typename Drop>
absl::string_view DropRight(absl::string_view text, const Drop& drop) {
  size_t end = text.size();
  while (end > 0) {
    const size_t start = PreviousStart(text, end);
    size_t at = start;
    if (!drop(text::NextChar(text, &at))) break;
    end = start;
  }
  return text.substr(0, end);
}

// True where the character is one of `chars`.
auto IsOneOf(absl::string_view chars) {
  return [chars](char32_t c) {
    for (size_t at = 0; at < chars.size();) {
      if (text::NextChar(chars, &at) == c) return true;
    }
    return false;
  };
}

}  // namespace

bool IsSpace(char32_t c) { return text::IsWhitespace(c) || (c >= 0x1C && c <= 0x1F); }

bool IsLineBreak(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

bool IsUpper(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LL; }
bool IsDecimal(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }

bool IsAlphabetic(char32_t c) {
  const utf8proc_category_t category = Category(c);
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

std::string ToUpper(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = text::NextChar(text, &at);
    if (c == 0xDF) {
      out += "SS";
    } else {
      text::AppendChar(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), &out);
    }
  }
  return out;
}

std::string ToLower(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = text::NextChar(text, &at);
    text::AppendChar(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), &out);
  }
  return out;
}

absl::string_view StripLeft(absl::string_view text) { return DropLeft(text, IsSpace); }
absl::string_view StripRight(absl::string_view text) { return DropRight(text, IsSpace); }
absl::string_view StripLeft(absl::string_view text, absl::string_view chars) { return DropLeft(text, IsOneOf(chars)); }
absl::string_view StripRight(absl::string_view text, absl::string_view chars) {
  return DropRight(text, IsOneOf(chars));
}

size_t FindText(absl::string_view text, absl::string_view part, size_t from) {
  if (from > text.size()) return absl::string_view::npos;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return absl::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

std::vector<absl::string_view> Characters(absl::string_view text) {
  std::vector<absl::string_view> chars;
  for (size_t at = 0; at < text.size();) {
    const size_t length = text::CharLength(text[at]);
    chars.push_back(text.substr(at, length));
    at += length;
  }
  return chars;
}

size_t ByteOffset(absl::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += text::CharLength(text[at]);
  return at;
}

size_t CharIndex(absl::string_view text, size_t bytes) {
  size_t count = 0;
  for (size_t at = 0; at < bytes; at += text::CharLength(text[at])) ++count;
  return count;
}

}  // namespace quire::jinja
