#include "coordinator/text/jinja/filters.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/format.h"
#include "coordinator/text/jinja/json_text.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

// str(value), which keeps the mark of a safe string.
Value AsString(Rendering* r, const Value& value) { return value.is_string() ? value : r->String(ToText(r, value)); }

Value ToJson(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.Flag(0, false);
  style.sort_keys = bound.Flag(3, false);
  if (const Value* indent = bound.at(1); indent != nullptr && !indent->is_none()) {
    const int64_t width = indent->is_string() ? 0 : bound.Int(1, 0);
    if (width > 64) return r->FailLimit("tojson: indent is at most 64");
    style.indent =
        indent->is_string() ? indent->text() : std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
    style.item_separator = ",";
  }
  if (const Value* separators = bound.at(2); separators != nullptr && !separators->is_none()) {
    const bool pair = separators->is_list() && separators->items().size() == 2;
    if (!pair) return r->Fail("tojson: separators must be a pair of strings");
    style.item_separator = std::string(Text(r, separators->items()[0], "tojson: a separator"));
    style.key_separator = std::string(Text(r, separators->items()[1], "tojson: a separator"));
  }
  if (!r->ok()) return Value();
  std::string out;
  PrintJson(r, value, style, &out);
  return r->String(std::move(out));
}

Value Default(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"default_value", "boolean"});
  const bool missing = value.is_undefined() || (bound.Flag(1, false) && !Truth(value));
  return missing ? bound.Or(0, r->String("")) : value;
}

Value String(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  return AsString(r, value);
}

Value Trim(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"chars"});
  Args inner;
  if (bound.at(0) != nullptr) inner.positional.push_back(*bound.at(0));
  const Value text = AsString(r, value);
  return r->ok() ? CallStringMethod(r, text, "strip", inner) : Value();
}

Value ChangeCase(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Value text = AsString(r, value);
  return r->ok() ? CallStringMethod(r, text, name, args) : Value();
}

// Words begin after white space, a hyphen or an opening bracket.
Value Title(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  const Value text = AsString(r, value);
  if (!r->ok() || !r->Spend(static_cast<int64_t>(text.text().size() / 8))) return Value();
  std::string out;
  bool in_word = false;
  const std::string& source = text.text();
  for (size_t at = 0; at < source.size();) {
    const size_t start = at;
    const char32_t c = text::NextChar(source, &at);
    const absl::string_view bytes = absl::string_view(source).substr(start, at - start);
    const bool gap = IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    out += gap || in_word ? ToLower(bytes) : ToUpper(bytes);
    in_word = !gap;
  }
  return r->String(std::move(out));
}

Value Replace(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"old", "new", "count"}, 2);
  if (!r->ok()) return Value();
  const bool all = bound.at(2) == nullptr || bound.at(2)->is_none();
  const std::string text = ToText(r, value), from = ToText(r, *bound.at(0)), to = ToText(r, *bound.at(1));
  return r->String(ReplaceText(r, text, from, to, all ? -1 : bound.Int(2, -1)));
}

Value Indent(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"width", "first", "blank"});
  const Value width = bound.Or(0, Value::Int(4));
  if (!width.is_string() && (bound.Int(0, 4) < 0 || bound.Int(0, 4) > 256)) return r->Fail("indent: width is 0 to 256");
  if (!r->ok()) return Value();
  const std::string space = width.is_string() ? width.text() : std::string(static_cast<size_t>(width.integer()), ' ');
  const bool first = bound.Flag(1, false), blank = bound.Flag(2, false);
  // As in Jinja2, which adds a line break and takes the lines: one at the end stays, and an empty text is one line.
  const std::string text = absl::StrCat(Text(r, value, "indent: the value"), "\n");
  const Value lines = CallStringMethod(r, r->String(text), "splitlines", Args());
  if (!r->ok()) return Value();
  std::string out;
  for (size_t i = 0; i < lines.items().size() && r->ok(); ++i) {
    const std::string& line = lines.items()[i].text();
    if (i > 0) r->Append(&out, "\n");
    if (i == 0 ? first : blank || !line.empty()) r->Append(&out, space);
    r->Append(&out, line);
  }
  return r->String(std::move(out));
}

Value Center(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"width"});
  const int64_t width = bound.Int(0, 80);
  return r->String(PadText(r, ToText(r, value), width, 'c', " "));
}

Value Format(Rendering* r, const std::string&, const Value& value, const Args& args) {
  if (!args.positional.empty() && !args.named.empty()) return r->Fail("format: values either by place or by name");
  Entries named;
  for (const auto& [key, item] : args.named) named.emplace_back(r->String(key), item);
  const Value values = args.named.empty() ? r->List(args.positional, ListForm::kTuple) : r->Dict(std::move(named));
  const Value format = AsString(r, value);
  return r->ok() ? PercentFormat(r, format, values) : Value();
}

Value Escape(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  if (name != "forceescape" && value.is_string() && value.string().safe) return value;
  return r->String(EscapeHtml(ToText(r, value)), /*safe=*/true);
}

Value Safe(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  return r->String(ToText(r, value), /*safe=*/true);
}

// int(text) in a base: white space around, a sign, a prefix for the bases that have one, underscores between digits.
bool ParseInt(absl::string_view text, int64_t base, int64_t* out) {
  text = absl::StripAsciiWhitespace(text);
  std::string digits(text);
  if (digits.find("__") != std::string::npos || digits.empty() || digits.back() == '_') return false;
  digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
  return absl::numbers_internal::safe_strtoi_base(digits, out, static_cast<int>(base));
}

bool ParseFloat(absl::string_view text, double* out) {
  return text.find_first_of("xX") == absl::string_view::npos && absl::SimpleAtod(text, out);
}

Value Int(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"default", "base"});
  const Value otherwise = bound.Or(0, Value::Int(0));
  const int64_t base = bound.Int(1, 10);
  if (!r->ok()) return Value();
  if (value.is_integer()) return Value::Int(value.integer());
  double number = 0;
  int64_t whole = 0;
  if (value.is_string()) {
    if (base != 0 && (base < 2 || base > 36)) return r->Fail("int: base is 2 to 36");
    if (ParseInt(value.text(), base, &whole)) return Value::Int(whole);
    if (!ParseFloat(value.text(), &number)) return otherwise;
  } else if (value.is_number()) {
    number = value.number();
  } else {
    if (value.is_undefined()) return FailUndefined(r, value);
    return otherwise;
  }
  return std::fabs(number) < 9.2e18 ? Value::Int(static_cast<int64_t>(number)) : otherwise;
}

Value Float(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"default"});
  if (value.is_number()) return Value::Float(value.number());
  if (value.is_undefined()) return FailUndefined(r, value);
  double number = 0;
  if (value.is_string() && ParseFloat(value.text(), &number)) return Value::Float(number);
  return bound.Or(0, Value::Float(0));
}

Value Abs(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  if (!value.is_number()) return r->Fail(absl::StrCat("abs: a ", TypeName(value), " is no number"));
  if (!value.is_integer()) return Value::Float(std::fabs(value.number()));
  return value.integer() < 0 ? Minus(r, value) : Value::Int(value.integer());
}

Value Round(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"precision", "method"});
  const int64_t precision = bound.Int(0, 0);
  const std::string method = bound.Text(1, "common");
  if (!r->ok()) return Value();
  if (!value.is_number()) return r->Fail(absl::StrCat("round: a ", TypeName(value), " is no number"));
  if (precision < 0 || precision > 15) return r->Fail("round: precision is 0 to 15");
  if (method != "common" && method != "ceil" && method != "floor") return r->Fail("round: unknown method");
  if (method == "common" && value.is_integer()) return Value::Int(value.integer());
  const double number = value.number(), scale = std::pow(10.0, static_cast<double>(precision));
  if (method == "ceil") return Value::Float(std::ceil(number * scale) / scale);
  if (method == "floor") return Value::Float(std::floor(number * scale) / scale);
  // Python rounds the decimal form to even, which printing does.
  double rounded = number;
  const bool parsed = absl::SimpleAtod(absl::StrFormat("%.*f", static_cast<int>(precision), number), &rounded);
  return Value::Float(parsed ? rounded : number);
}

Value Length(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  switch (value.kind()) {
    case Kind::kUndefined:
      return Value::Int(0);
    case Kind::kString:
      return Value::Int(static_cast<int64_t>(value.string().num_chars));
    case Kind::kList:
      return Value::Int(static_cast<int64_t>(value.items().size()));
    case Kind::kDict:
      return Value::Int(static_cast<int64_t>(value.dict().entries.size()));
    default:
      if (const auto* loop = value.As<Loop>()) return Value::Int(static_cast<int64_t>(loop->list.items().size()));
      return r->Fail(absl::StrCat(name, ": a ", TypeName(value), " has no length"));
  }
}

constexpr std::pair<absl::string_view, Filter> kFilters[] = {
    {"abs", Abs},          {"capitalize", ChangeCase},
    {"center", Center},    {"count", Length},
    {"d", Default},        {"default", Default},
    {"e", Escape},         {"escape", Escape},
    {"float", Float},      {"forceescape", Escape},
    {"format", Format},    {"indent", Indent},
    {"int", Int},          {"length", Length},
    {"lower", ChangeCase}, {"replace", Replace},
    {"round", Round},      {"safe", Safe},
    {"string", String},    {"title", Title},
    {"tojson", ToJson},    {"trim", Trim},
    {"upper", ChangeCase},
};

Filter FindFilter(absl::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return FindSequenceFilter(name);
}

}  // namespace

bool IsFilter(absl::string_view name) { return FindFilter(name) != nullptr; }

Value ApplyFilter(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  if (!r->Spend(1)) return Value();
  const Filter filter = FindFilter(name);
  if (filter == nullptr) return r->Fail(absl::StrCat("there is no filter '", name, "'"));
  Value out = filter(r, name, value, args);
  return r->ok() ? out : Value();
}

}  // namespace quire::jinja
