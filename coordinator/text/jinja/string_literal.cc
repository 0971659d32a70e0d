#include "coordinator/text/jinja/string_literal.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

// The character that a letter behind the backslash stands for; '\0' when it is none of the simple ones.
char Simple(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return '\0';
  }
}

size_t HexDigits(char c) { return c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0; }

// \101 as Python reads it; `*at` is moved behind it.
uint32_t TakeOctal(absl::string_view text, size_t* at) {
  uint32_t value = 0;
  for (const size_t end = std::min(text.size(), *at + 3); *at < end && text[*at] >= '0' && text[*at] <= '7'; ++*at) {
    value = value * 8 + static_cast<uint32_t>(text[*at] - '0');
  }
  return value;
}

}  // namespace

absl::StatusOr<std::string> Unescape(absl::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (size_t at = 0; at < literal.size();) {
    if (literal[at] != '\\' || at + 1 >= literal.size()) {
      out.push_back(literal[at++]);
      continue;
    }
    const char c = literal[++at];
    if (const char simple = Simple(c); simple != '\0') {
      out.push_back(simple);
      ++at;
    } else if (c == '\n') {
      ++at;
    } else if (c >= '0' && c <= '7') {
      text::AppendChar(TakeOctal(literal, &at), &out);
    } else if (c == 'N') {
      return absl::InvalidArgumentError("characters by name (\\N) are not supported");
    } else if (const size_t digits = HexDigits(c); digits > 0) {
      uint32_t value = 0;
      const absl::string_view text = literal.substr(at + 1, digits);
      const bool all_hex = text.find_first_not_of("0123456789abcdefABCDEF") == absl::string_view::npos;
      if (text.size() != digits || !all_hex || !absl::SimpleHexAtoi(text, &value)) {
        return absl::InvalidArgumentError(absl::StrCat("a \\", std::string(1, c), " escape needs ", digits, " digits"));
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return absl::InvalidArgumentError(absl::StrCat("\\", std::string(1, c), text, " is no character"));
      }
      text::AppendChar(value, &out);
      at += 1 + digits;
    } else {
      out.push_back('\\');
    }
  }
  return out;
}

}  // namespace quire::jinja
