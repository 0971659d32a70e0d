#include "coordinator/text/jinja/json_text.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

using Json = nlohmann::json;

// Builds values from the parser's events: finished containers only, from the inside out.
class Builder final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Take(Value::None()); }
  bool boolean(bool value) override { return Take(Value::Bool(value)); }
  bool number_integer(number_integer_t value) override { return Take(Value::Int(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return FailInteger(absl::StrCat(value));
    return Take(Value::Int(static_cast<int64_t>(value)));
  }
  bool number_float(number_float_t value, const string_t& text) override {
    // The parser's way to give an integer of more than 64 bits.
    if (text.find_first_of(".eE") == std::string::npos) return FailInteger(text);
    return Take(Value::Float(value));
  }
  bool string(string_t& value) override { return Take(Value::String(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return Open(); }
  bool start_array(std::size_t) override { return Open(); }
  bool key(string_t& value) override {
    open_.back().keys.push_back(Value::String(value));
    return true;
  }
  bool end_object() override {
    Entries entries;
    for (size_t i = 0; i < open_.back().values.size(); ++i) {
      entries.emplace_back(std::move(open_.back().keys[i]), std::move(open_.back().values[i]));
    }
    open_.pop_back();
    return Take(Value::Dict(std::move(entries)));
  }
  bool end_array() override {
    std::vector<Value> values = std::move(open_.back().values);
    open_.pop_back();
    return Take(Value::List(std::move(values)));
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_ = absl::StrCat("not valid JSON at byte ", position);
    return false;
  }

  const std::string& error() const { return error_; }
  Value result() { return std::move(result_); }

 private:
  struct Container {
    std::vector<Value> keys;
    std::vector<Value> values;
  };

  bool Open() {
    if (open_.size() >= static_cast<size_t>(kJsonNestingMax)) {
      error_ = absl::StrCat("nested deeper than ", kJsonNestingMax, " levels");
      return false;
    }
    open_.emplace_back();
    return true;
  }
  bool Take(Value value) {
    (open_.empty() ? result_ : open_.back().values.emplace_back()) = std::move(value);
    return true;
  }
  bool FailInteger(const std::string& text) {
    error_ = absl::StrCat("the integer ", text.substr(0, 40), " has more than 64 bits");
    return false;
  }

  std::vector<Container> open_;
  Value result_;
  std::string error_;
};

void AppendJsonChar(char32_t c, absl::string_view bytes, bool ensure_ascii, std::string* out) {
  constexpr absl::string_view kPlain = "\"\\\n\r\t\b\f";
  constexpr absl::string_view kLetters = "\"\\nrtbf";
  const size_t at = c < 0x80 ? kPlain.find(static_cast<char>(c)) : absl::string_view::npos;
  const auto code = static_cast<uint32_t>(c);
  if (at != absl::string_view::npos) {
    out->push_back('\\');
    out->push_back(kLetters[at]);
  } else if (code < 0x20) {
    absl::StrAppendFormat(out, "\\u%04x", code);
  } else if (code < 0x7F || !ensure_ascii) {
    absl::StrAppend(out, bytes);
  } else if (code < 0x10000) {
    // DEL is ASCII and stays.
    code == 0x7F ? absl::StrAppend(out, bytes) : absl::StrAppend(out, absl::StrFormat("\\u%04x", code));
  } else {
    absl::StrAppendFormat(out, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF));
  }
}

class JsonPrinter final {
 public:
  JsonPrinter(Rendering* r, const JsonStyle& style, std::string* out) : r_(r), style_(style), out_(out) {}

  void Print(const Value& value);

 private:
  void PrintString(const std::string& text);
  void PrintNumber(double number);
  void PrintList(const ListBox& list);
  void PrintDict(const DictBox& dict);
  void PrintKey(const Value& key);
  // Between "[" or "," and the next item.
  void Break() {
    if (!style_.indent.has_value()) return;
    r_->Append(out_, "\n");
    for (int i = 0; i < level_; ++i) r_->Append(out_, *style_.indent);
  }

  Rendering* const r_;
  const JsonStyle& style_;
  std::string* const out_;
  int level_ = 0;
};

void JsonPrinter::PrintString(const std::string& text) {
  if (!r_->SpendChars(text.size())) return;
  std::string quoted = "\"";
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = text::NextChar(text, &at);
    AppendJsonChar(c, absl::string_view(text).substr(start, at - start), style_.ensure_ascii, &quoted);
  }
  quoted.push_back('"');
  r_->Append(out_, quoted);
}

void JsonPrinter::PrintNumber(double number) {
  if (std::isnan(number)) return r_->Append(out_, "NaN");
  if (std::isinf(number)) return r_->Append(out_, number > 0 ? "Infinity" : "-Infinity");
  r_->Append(out_, FloatText(number));
}

void JsonPrinter::PrintList(const ListBox& list) {
  if (list.items.empty()) return r_->Append(out_, "[]");
  r_->Append(out_, "[");
  ++level_;
  for (size_t i = 0; i < list.items.size() && r_->ok(); ++i) {
    if (i > 0) r_->Append(out_, style_.item_separator);
    Break();
    Print(list.items[i]);
  }
  --level_;
  Break();
  r_->Append(out_, "]");
}

void JsonPrinter::PrintKey(const Value& key) {
  switch (key.kind()) {
    case Kind::kString:
      return PrintString(key.text());
    case Kind::kNone:
      return PrintString("null");
    case Kind::kBool:
      return PrintString(key.boolean() ? "true" : "false");
    case Kind::kInt:
      return PrintString(absl::StrCat(key.integer()));
    case Kind::kFloat:
      r_->Append(out_, "\"");
      PrintNumber(key.number());
      return r_->Append(out_, "\"");
    default:
      r_->Fail(absl::StrCat("tojson: a ", TypeName(key), " cannot be a key"));
  }
}

void JsonPrinter::PrintDict(const DictBox& dict) {
  if (dict.entries.empty()) return r_->Append(out_, "{}");
  std::vector<const std::pair<Value, Value>*> entries;
  for (const auto& entry : dict.entries) entries.push_back(&entry);
  if (style_.sort_keys) {
    std::stable_sort(entries.begin(), entries.end(),
                     [this](const auto* a, const auto* b) { return r_->Order(a->first, b->first) < 0; });
  }
  r_->Append(out_, "{");
  ++level_;
  for (size_t i = 0; i < entries.size() && r_->ok(); ++i) {
    if (i > 0) r_->Append(out_, style_.item_separator);
    Break();
    PrintKey(entries[i]->first);
    r_->Append(out_, style_.key_separator);
    Print(entries[i]->second);
  }
  --level_;
  Break();
  r_->Append(out_, "}");
}

void JsonPrinter::Print(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
      return r_->Append(out_, "null");
    case Kind::kBool:
      return r_->Append(out_, value.boolean() ? "true" : "false");
    case Kind::kInt:
      return r_->Append(out_, absl::StrCat(value.integer()));
    case Kind::kFloat:
      return PrintNumber(value.number());
    case Kind::kString:
      return PrintString(value.text());
    case Kind::kList:
      if (value.list().form == ListForm::kList || value.list().form == ListForm::kTuple) return PrintList(value.list());
      break;
    case Kind::kDict:
      return PrintDict(value.dict());
    case Kind::kUndefined:
      r_->Fail(absl::StrCat("tojson: ", value.hint(), " is undefined"));
      return;
    case Kind::kObject:
      break;
  }
  r_->Fail(absl::StrCat("tojson: a ", TypeName(value), " has no JSON form"));
}

}  // namespace

absl::StatusOr<Value> ParseJson(absl::string_view text) {
  Builder builder;
  const bool parsed = Json::sax_parse(text.begin(), text.end(), &builder, Json::input_format_t::json, /*strict=*/true);
  if (parsed) return builder.result();
  return absl::InvalidArgumentError(builder.error().empty() ? "not valid JSON" : builder.error());
}

void PrintJson(Rendering* r, const Value& value, const JsonStyle& style, std::string* out) {
  JsonPrinter(r, style, out).Print(value);
}

}  // namespace quire::jinja
