#include "coordinator/text/jinja/print.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

// One character inside the quotes of a repr.
void AppendReprChar(char32_t c, absl::string_view bytes, char quote, std::string* out) {
  const auto code = static_cast<uint32_t>(c);
  if (c == static_cast<unsigned char>(quote) || c == '\\') {
    absl::StrAppend(out, "\\", bytes);
  } else if (c == '\n' || c == '\r' || c == '\t') {
    absl::StrAppend(out, "\\", c == '\n' ? "n" : c == '\r' ? "r" : "t");
  } else if (IsPrintable(c)) {
    absl::StrAppend(out, bytes);
  } else if (code < 0x100) {
    absl::StrAppendFormat(out, "\\x%02x", code);
  } else if (code < 0x10000) {
    absl::StrAppendFormat(out, "\\u%04x", code);
  } else {
    absl::StrAppendFormat(out, "\\U%08x", code);
  }
}

void PrintQuoted(Rendering* r, const std::string& text, std::string* out) {
  if (!r->SpendChars(text.size())) return;
  const bool has_single = text.find('\'') != std::string::npos;
  const char quote = has_single && text.find('"') == std::string::npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = text::NextChar(text, &at);
    AppendReprChar(c, absl::string_view(text).substr(start, at - start), quote, &quoted);
  }
  quoted.push_back(quote);
  r->Append(out, quoted);
}

void PrintList(Rendering* r, const ListBox& list, std::string* out) {
  const bool tuple = list.form == ListForm::kTuple;
  r->Append(out, tuple ? "(" : "[");
  for (size_t i = 0; i < list.items.size() && r->ok(); ++i) {
    if (i > 0) r->Append(out, ", ");
    PrintRepr(r, list.items[i], out);
  }
  if (tuple && list.items.size() == 1) r->Append(out, ",");
  r->Append(out, tuple ? ")" : "]");
}

void PrintDict(Rendering* r, const DictBox& dict, std::string* out) {
  r->Append(out, "{");
  for (size_t i = 0; i < dict.entries.size() && r->ok(); ++i) {
    if (i > 0) r->Append(out, ", ");
    PrintRepr(r, dict.entries[i].first, out);
    r->Append(out, ": ");
    PrintRepr(r, dict.entries[i].second, out);
  }
  r->Append(out, "}");
}

}  // namespace

std::string FloatText(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto written = std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::scientific);
  const absl::string_view text(buffer, static_cast<size_t>(written.ptr - buffer));
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  if (exponent < -4 || exponent >= 16) return std::string(text);
  const auto fixed = std::to_chars(buffer, buffer + sizeof(buffer), number, std::chars_format::fixed);
  std::string out(buffer, fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

void PrintRepr(Rendering* r, const Value& value, std::string* out) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return r->Append(out, "Undefined");
    case Kind::kString:
      if (!value.string().safe) return PrintQuoted(r, value.text(), out);
      r->Append(out, "Markup(");
      PrintQuoted(r, value.text(), out);
      return r->Append(out, ")");
    default:
      return Print(r, value, out);
  }
}

void Print(Rendering* r, const Value& value, std::string* out) {
  if (!r->ok()) return;
  switch (value.kind()) {
    case Kind::kUndefined:
      return;
    case Kind::kNone:
      return r->Append(out, "None");
    case Kind::kBool:
      return r->Append(out, value.boolean() ? "True" : "False");
    case Kind::kInt:
      return r->Append(out, absl::StrCat(value.integer()));
    case Kind::kFloat:
      return r->Append(out, FloatText(value.number()));
    case Kind::kString:
      return r->Append(out, value.text());
    case Kind::kList:
      if (value.list().form == ListForm::kList || value.list().form == ListForm::kTuple) {
        return PrintList(r, value.list(), out);
      }
      break;
    case Kind::kDict:
      return PrintDict(r, value.dict(), out);
    case Kind::kObject:
      break;
  }
  r->Fail(absl::StrCat("a ", TypeName(value), " cannot be printed"));
}

std::string ToText(Rendering* r, const Value& value) {
  std::string text;
  Print(r, value, &text);
  return text;
}

absl::string_view Text(Rendering* r, const Value& value, absl::string_view what) {
  if (value.is_string()) return value.text();
  if (value.is_undefined()) {
    r->Fail(absl::StrCat(what, ": ", value.hint(), " is undefined"));
  } else {
    r->Fail(absl::StrCat(what, " must be a string, not a ", TypeName(value)));
  }
  return "";
}

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {">", "&gt;"}, {"<", "&lt;"}, {"'", "&#39;"}, {"\"", "&#34;"}});
}

}  // namespace quire::jinja
