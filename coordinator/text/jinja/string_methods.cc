// The methods of strings (methods.h). All count in characters, as Python does.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/format.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

using Method = Value (*)(Rendering* r, const Value& self, const std::string& name, const Args& args);

constexpr int64_t kNoLimit = -1;
constexpr size_t kPartsMax = 1 << 20;

// A search from the right may compare all of `part` at each place.
bool SpendSearch(Rendering* r, absl::string_view text, absl::string_view part) {
  return r->Spend(static_cast<int64_t>((text.size() + 1) * (part.size() / 16 + 1) / 64));
}

Value Strip(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"chars"});
  absl::string_view text = self.text();
  const Value* given = bound.at(0);
  const bool by_space = given == nullptr || given->is_none();
  const std::string chars = by_space ? "" : bound.Text(0, "");
  if (!r->ok() || !r->Spend(static_cast<int64_t>((text.size() + 1) * (chars.size() + 1) / 32))) return Value();
  if (name != "rstrip") text = by_space ? StripLeft(text) : StripLeft(text, chars);
  if (name != "lstrip") text = by_space ? StripRight(text) : StripRight(text, chars);
  return r->String(std::string(text), self.string().safe);
}

// Parts of the text between runs of white space.
std::vector<absl::string_view> SplitAtSpace(Rendering* r, absl::string_view text, int64_t splits_max, bool from_right) {
  std::vector<absl::string_view> parts;
  text = from_right ? StripRight(text) : StripLeft(text);
  while (!text.empty() && r->Spend(1)) {
    if (parts.size() >= kPartsMax) r->FailLimit(absl::StrCat("more than ", kPartsMax, " parts"));
    if (splits_max != kNoLimit && static_cast<int64_t>(parts.size()) == splits_max) {
      parts.push_back(from_right ? StripRight(text) : text);
      break;
    }
    size_t at = 0, word_begin = 0, word_end = text.size();
    while (at < text.size()) {
      const size_t start = at;
      if (!IsSpace(text::NextChar(text, &at))) continue;
      if (from_right) {
        word_begin = at;  // behind the last white space
      } else {
        word_end = start;
        break;
      }
    }
    if (from_right) {
      parts.push_back(text.substr(word_begin));
      text = StripRight(text.substr(0, word_begin));
    } else {
      parts.push_back(text.substr(0, word_end));
      text = StripLeft(text.substr(word_end));
    }
  }
  // What remains after the last split keeps the white space at its far end.
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<absl::string_view> SplitAt(Rendering* r, absl::string_view text, absl::string_view separator,
                                       int64_t splits_max, bool from_right) {
  std::vector<absl::string_view> parts;
  while (r->Spend(1) && (splits_max == kNoLimit || static_cast<int64_t>(parts.size()) < splits_max)) {
    if (parts.size() >= kPartsMax) r->FailLimit(absl::StrCat("more than ", kPartsMax, " parts"));
    const size_t at = from_right ? text.rfind(separator) : FindText(text, separator);
    if (at == absl::string_view::npos) break;
    if (from_right) {
      parts.push_back(text.substr(at + separator.size()));
      text = text.substr(0, at);
    } else {
      parts.push_back(text.substr(0, at));
      text = text.substr(at + separator.size());
    }
  }
  parts.push_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

Value ToList(Rendering* r, const std::vector<absl::string_view>& parts, bool safe = false,
             ListForm form = ListForm::kList) {
  std::vector<Value> items;
  for (const absl::string_view part : parts) {
    if (!r->ok()) return Value();
    items.push_back(r->String(std::string(part), safe));
  }
  return r->List(std::move(items), form);
}

Value Split(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"sep", "maxsplit"});
  const int64_t limit = std::max(bound.Int(1, kNoLimit), kNoLimit);
  const bool by_space = bound.at(0) == nullptr || bound.at(0)->is_none();
  const std::string separator = by_space ? "" : bound.Text(0, "");
  if (!r->ok() || !r->SpendText(self.text().size())) return Value();
  const bool from_right = name == "rsplit";
  if (by_space) {
    // From the right each word is found by a walk over all of the text.
    if (from_right && !r->Spend(static_cast<int64_t>(self.text().size()))) return Value();
    if (from_right && self.text().size() > 1 << 16)
      return r->FailLimit("rsplit() without a separator: too long a text");
    return ToList(r, SplitAtSpace(r, self.text(), limit, from_right), self.string().safe);
  }
  if (separator.empty()) return r->Fail(absl::StrCat(name, "(): the separator is empty"));
  if (!SpendSearch(r, self.text(), separator)) return Value();
  return ToList(r, SplitAt(r, self.text(), separator, limit, from_right), self.string().safe);
}

Value SplitLines(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"keepends"});
  const bool keep = bound.Flag(0, false);
  const absl::string_view text = self.text();
  if (!r->ok() || !r->SpendText(text.size())) return Value();
  std::vector<absl::string_view> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size() && r->ok();) {
    if (lines.size() >= kPartsMax) r->FailLimit(absl::StrCat("more than ", kPartsMax, " parts"));
    const size_t start = at;
    if (!IsLineBreak(text::NextChar(text, &at))) continue;
    if (text[start] == '\r' && at < text.size() && text[at] == '\n') ++at;
    lines.push_back(text.substr(begin, (keep ? at : start) - begin));
    begin = at;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return ToList(r, lines, self.string().safe);
}

Value Partition(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"sep"}, 1);
  const std::string separator = bound.Text(0, "");
  if (!r->ok()) return Value();
  if (separator.empty()) return r->Fail(absl::StrCat(name, "(): the separator is empty"));
  const absl::string_view text = self.text();
  if (!SpendSearch(r, text, separator)) return Value();
  const size_t at = name == "partition" ? FindText(text, separator) : text.rfind(separator);
  std::vector<absl::string_view> parts;
  if (at != absl::string_view::npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (name == "partition") {
    parts = {text, "", ""};
  } else {
    parts = {"", "", text};
  }
  return ToList(r, parts, false, ListForm::kTuple);
}

// text[start:end] of the arguments `first` and `first + 1`; nothing where the start lies behind the text.
bool TakeRange(Rendering* r, const Bound& bound, size_t first, absl::string_view* text, size_t* skipped) {
  const auto size = static_cast<int64_t>(CharIndex(*text, text->size()));
  const auto clamp = [&](size_t argument, int64_t otherwise) {
    const bool given = bound.at(argument) != nullptr && !bound.at(argument)->is_none();
    int64_t at = given ? bound.Int(argument, otherwise) : otherwise;
    if (at < 0) at = std::max<int64_t>(0, std::max(at, -size) + size);
    return at;
  };
  const int64_t start = clamp(first, 0), end = std::min(clamp(first + 1, size), size);
  if (!r->ok() || start > end) return false;
  const size_t begin = ByteOffset(*text, static_cast<size_t>(start));
  *skipped = static_cast<size_t>(start);
  *text = text->substr(begin, ByteOffset(*text, static_cast<size_t>(end)) - begin);
  return true;
}

Value StartsOrEndsWith(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"prefix", "start", "end"}, 1);
  absl::string_view text = self.text();
  size_t skipped = 0;
  if (!r->ok()) return Value();
  const Value& wanted = *bound.at(0);
  const bool is_tuple = wanted.is_list() && wanted.list().form == ListForm::kTuple;
  if (!wanted.is_string() && !is_tuple) {
    return r->Fail(absl::StrCat(name, "() wants a string or a tuple of strings, not a ", TypeName(wanted)));
  }
  const std::vector<Value> parts = is_tuple ? wanted.items() : std::vector<Value>{wanted};
  if (bound.at(1) != nullptr && !TakeRange(r, bound, 1, &text, &skipped)) return Value::Bool(false);
  for (const Value& part : parts) {
    const absl::string_view piece = Text(r, part, name);
    if (!r->ok()) return Value();
    if (name == "startswith" ? absl::StartsWith(text, piece) : absl::EndsWith(text, piece)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

Value Find(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"sub", "start", "end"}, 1);
  const std::string part = bound.Text(0, "");
  absl::string_view text = self.text();
  size_t skipped = 0;
  const bool in_range = r->ok() && SpendSearch(r, text, part) && TakeRange(r, bound, 1, &text, &skipped);
  if (!r->ok()) return Value();
  const bool from_right = name == "rfind" || name == "rindex";
  const size_t at = !in_range ? absl::string_view::npos : from_right ? text.rfind(part) : FindText(text, part);
  if (at != absl::string_view::npos) return Value::Int(static_cast<int64_t>(skipped + CharIndex(text, at)));
  if (name == "index" || name == "rindex") return r->Fail(absl::StrCat(name, "(): not found"));
  return Value::Int(-1);
}

Value Count(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"sub", "start", "end"}, 1);
  const std::string part = bound.Text(0, "");
  absl::string_view text = self.text();
  size_t skipped = 0;
  if (!r->ok() || !r->SpendText(text.size())) return Value();
  if (!TakeRange(r, bound, 1, &text, &skipped)) return Value::Int(0);
  if (part.empty()) return Value::Int(static_cast<int64_t>(CharIndex(text, text.size())) + 1);
  int64_t count = 0;
  for (size_t at = FindText(text, part); at != absl::string_view::npos; at = FindText(text, part, at + part.size())) {
    ++count;
  }
  return Value::Int(count);
}

Value Replace(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"old", "new", "count"}, 2);
  const std::string from = bound.Text(0, ""), to = bound.Text(1, "");
  const int64_t count = bound.Int(2, -1);
  if (!r->ok()) return Value();
  return r->String(ReplaceText(r, self.text(), from, to, count), self.string().safe);
}

Value Join(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"iterable"}, 1);
  if (!r->ok()) return Value();
  const Value list = Iterate(r, *bound.at(0));
  std::string out;
  for (size_t i = 0; i < list.items().size() && r->ok(); ++i) {
    if (i > 0) r->Append(&out, self.text());
    r->Append(&out, Text(r, list.items()[i], "join()"));
  }
  return r->String(std::move(out));
}

std::string Capitalize(absl::string_view text) {
  const size_t first = text.empty() ? 0 : text::CharLength(text[0]);
  return absl::StrCat(ToUpper(text.substr(0, first)), ToLower(text.substr(first)));
}

// Every run of letters begins upper case.
std::string Title(absl::string_view text, bool swap_case) {
  std::string out;
  bool in_word = false;
  for (const absl::string_view c : Characters(text)) {
    size_t at = 0;
    const char32_t code = text::NextChar(c, &at);
    const bool to_upper = swap_case ? IsLower(code) : !in_word;
    out += to_upper ? ToUpper(c) : ToLower(c);
    in_word = IsAlphabetic(code);
  }
  return out;
}

Value ChangeCase(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {});
  const std::string& text = self.text();
  if (!r->ok() || !r->SpendChars(text.size())) return Value();
  if ((name == "title" || name == "swapcase") && text.size() > kPartsMax) return r->FailLimit("too long a text");
  const bool safe = self.string().safe;
  if (name == "upper") return r->String(ToUpper(text), safe);
  if (name == "lower" || name == "casefold") return r->String(ToLower(text), safe);
  if (name == "capitalize") return r->String(Capitalize(text), safe);
  return r->String(Title(text, name == "swapcase"), safe);
}

Value Remove(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"affix"}, 1);
  const std::string affix = bound.Text(0, "");
  if (!r->ok()) return Value();
  absl::string_view text = self.text();
  const bool prefix = name == "removeprefix";
  if (prefix && absl::StartsWith(text, affix)) text.remove_prefix(affix.size());
  if (!prefix && absl::EndsWith(text, affix)) text.remove_suffix(affix.size());
  return r->String(std::string(text));
}

Value Pad(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {"width", "fillchar"}, 1);
  const int64_t width = bound.Int(0, 0);
  const std::string fill = name == "zfill" ? "0" : bound.Text(1, " ");
  if (!r->ok()) return Value();
  if (CharIndex(fill, fill.size()) != 1) return r->Fail(absl::StrCat(name, "() fills with one character"));
  const char align = name == "ljust" ? '<' : name == "center" ? 'c' : name == "zfill" ? '=' : '>';
  return r->String(PadText(r, self.text(), width, align, fill));
}

Value Classify(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const Bound bound(r, name, args, {});
  const std::string& text = self.text();
  if (!r->ok() || !r->SpendChars(text.size())) return Value();
  if (name == "isascii") return Value::Bool(self.string().num_chars == text.size());
  bool any = false, all = !text.empty();
  for (size_t at = 0; at < text.size();) {
    const char32_t c = text::NextChar(text, &at);
    const bool digit = IsDecimal(c), alpha = IsAlphabetic(c);
    if (name == "isspace") all &= IsSpace(c);
    if (name == "isdigit" || name == "isdecimal" || name == "isnumeric") all &= digit;
    if (name == "isalpha") all &= alpha;
    if (name == "isalnum") all &= alpha || digit;
    if (name == "isprintable") all &= IsPrintable(c);
    if (name == "isupper") all &= !IsLower(c), any |= IsUpper(c);
    if (name == "islower") all &= !IsUpper(c), any |= IsLower(c);
  }
  if (name == "isprintable") all |= text.empty();
  if (name == "isupper" || name == "islower") all &= any;
  return Value::Bool(all);
}

Value Format(Rendering* r, const Value& self, const std::string&, const Args& args) {
  return BraceFormat(r, self.text(), args);
}

Value Unsupported(Rendering* r, const Value&, const std::string& name, const Args&) {
  return r->Fail(absl::StrCat("the method '", name, "' is not supported"));
}

constexpr std::pair<absl::string_view, Method> kMethods[] = {
    {"capitalize", ChangeCase},
    {"casefold", ChangeCase},
    {"center", Pad},
    {"count", Count},
    {"encode", Unsupported},
    {"endswith", StartsOrEndsWith},
    {"expandtabs", Unsupported},
    {"find", Find},
    {"format", Format},
    {"format_map", Unsupported},
    {"index", Find},
    {"isalnum", Classify},
    {"isalpha", Classify},
    {"isascii", Classify},
    {"isdecimal", Classify},
    {"isdigit", Classify},
    {"isidentifier", Unsupported},
    {"islower", Classify},
    {"isnumeric", Classify},
    {"isprintable", Classify},
    {"isspace", Classify},
    {"istitle", Unsupported},
    {"isupper", Classify},
    {"join", Join},
    {"ljust", Pad},
    {"lower", ChangeCase},
    {"lstrip", Strip},
    {"maketrans", Unsupported},
    {"partition", Partition},
    {"removeprefix", Remove},
    {"removesuffix", Remove},
    {"replace", Replace},
    {"rfind", Find},
    {"rindex", Find},
    {"rjust", Pad},
    {"rpartition", Partition},
    {"rsplit", Split},
    {"rstrip", Strip},
    {"split", Split},
    {"splitlines", SplitLines},
    {"startswith", StartsOrEndsWith},
    {"strip", Strip},
    {"swapcase", ChangeCase},
    {"title", ChangeCase},
    {"translate", Unsupported},
    {"upper", ChangeCase},
    {"zfill", Pad},
};

const std::pair<absl::string_view, Method>* FindEntry(absl::string_view name) {
  const auto* entry =
      std::find_if(std::begin(kMethods), std::end(kMethods), [name](const auto& known) { return known.first == name; });
  return entry == std::end(kMethods) ? nullptr : entry;
}

}  // namespace

bool IsStringMethod(absl::string_view name) { return FindEntry(name) != nullptr; }

Value CallStringMethod(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const auto* entry = FindEntry(name);
  if (entry == nullptr || !self.is_string()) return r->Fail(absl::StrCat("there is no method '", name, "'"));
  return entry->second(r, self, name, args);
}

}  // namespace quire::jinja
