#include "coordinator/openai/json_writer.h"

#include <charconv>

#include "absl/strings/str_format.h"
#include "coordinator/text/utf8.h"

namespace quire::openai {
namespace {

bool IsPlain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\' && c != 0x7F; }

void AppendEscaped(char c, std::string* out) {
  switch (c) {
    case '"':
      out->append("\\\"");
      return;
    case '\\':
      out->append("\\\\");
      return;
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    default:
      absl::StrAppendFormat(out, "\\u%04x", static_cast<unsigned char>(c));
  }
}

}  // namespace

void AppendQuoted(absl::string_view text, std::string* out) {
  std::string mended;
  if (text::FindInvalidUtf8(text) != absl::string_view::npos) {
    text::AppendLossy(text, /*at_end=*/true, &mended);
    text = mended;
  }
  out->push_back('"');
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin;
    while (end < text.size() && IsPlain(text[end])) ++end;
    out->append(text.data() + begin, end - begin);
    if (end < text.size()) AppendEscaped(text[end], out);
    begin = end + 1;
  }
  out->push_back('"');
}

std::string Quoted(absl::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  AppendQuoted(text, &out);
  return out;
}

void AppendLogprob(float logprob, std::string* out) {
  constexpr float kLeast = -9999;
  if (!(logprob >= kLeast)) logprob = kLeast;
  if (logprob > -kLeast) logprob = -kLeast;
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof(digits), logprob);
  out->append(digits, end.ptr);
}

}  // namespace quire::openai
