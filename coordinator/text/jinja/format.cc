#include "coordinator/text/jinja/format.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

constexpr int64_t kWidthMax = 1 << 16;
constexpr int64_t kPrecisionMax = 60;

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

// What stands behind ':' or '%'.
struct Spec {
  std::string fill = " ";
  char align = '\0';  // '\0': as the type wants
  bool plus = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

// Digits at the front; false when they exceed `most`.
bool TakeNumber(absl::string_view* text, int64_t most, int64_t* number) {
  int64_t value = 0;
  while (!text->empty() && IsDigit(text->front())) {
    value = value * 10 + (text->front() - '0');
    if (value > most) return false;
    text->remove_prefix(1);
    *number = value;
  }
  return true;
}

bool TakeWidth(absl::string_view* text, Spec* spec) {
  if (!TakeNumber(text, kWidthMax, &spec->width)) return false;
  if (!absl::ConsumePrefix(text, ".")) return true;
  spec->precision = 0;
  return TakeNumber(text, kPrecisionMax, &spec->precision);
}

std::string FloatWith(double number, char type, int64_t precision) {
  const int digits = static_cast<int>(precision < 0 ? 6 : precision);
  if (type == 'e') return absl::StrFormat("%.*e", digits, number);
  if (type == 'g') return absl::StrFormat("%.*g", digits, number);
  return absl::StrFormat("%.*f", digits, number);
}

// The text of one value under a spec whose type is none of s, r.
std::string NumberText(Rendering* r, const Value& value, const Spec& spec) {
  if (!value.is_number()) {
    r->Fail(absl::StrCat("'%", std::string(1, spec.type), "' needs a number, not a ", TypeName(value)));
    return "";
  }
  std::string text;
  switch (spec.type) {
    case 'f':
    case 'F':
    case 'e':
    case 'g':
      text = FloatWith(value.number(), spec.type, spec.precision);
      break;
    case 'x':
    case 'X':
    case 'o':
    case 'd':
    case 'i':
    case 'u': {
      const double number = value.number();
      if (!value.is_integer() && !(std::fabs(number) < 9e18)) {
        r->Fail("the number does not fit 64 bits");
        return "";
      }
      const int64_t whole = value.is_integer() ? value.integer() : static_cast<int64_t>(number);
      const uint64_t size = whole < 0 ? 0 - static_cast<uint64_t>(whole) : static_cast<uint64_t>(whole);
      const std::string sign = whole < 0 ? "-" : "";
      if (spec.type == 'x') return sign + absl::StrFormat("%x", size);
      if (spec.type == 'X') return sign + absl::StrFormat("%X", size);
      if (spec.type == 'o') return sign + absl::StrFormat("%o", size);
      text = absl::StrCat(whole);
      break;
    }
    default:
      r->Fail(absl::StrCat("the format '", std::string(1, spec.type), "' is not supported"));
  }
  if (spec.plus && !text.empty() && text[0] != '-') text = "+" + text;
  return text;
}

// Cut to the precision and padded to the width.
void AppendText(Rendering* r, const Spec& spec, absl::string_view text, std::string* out) {
  if (spec.precision >= 0) text = text.substr(0, ByteOffset(text, static_cast<size_t>(spec.precision)));
  r->Append(out, PadText(r, text, spec.width, spec.align == '\0' ? '<' : spec.align, spec.fill));
}

void AppendNumber(Rendering* r, const Spec& spec, const Value& value, std::string* out) {
  r->Append(out, PadText(r, NumberText(r, value, spec), spec.width, spec.align == '\0' ? '>' : spec.align, spec.fill));
}

// ---- '%s' % x ----

class PercentFormatter final {
 public:
  PercentFormatter(Rendering* r, const Value& arguments)
      : r_(r), arguments_(arguments), is_tuple_(arguments.is_list() && arguments.list().form == ListForm::kTuple) {}

  std::string Run(absl::string_view rest) {
    std::string out;
    while (r_->ok() && !rest.empty()) {
      const size_t at = std::min(rest.find('%'), rest.size());
      r_->Append(&out, rest.substr(0, at));
      rest.remove_prefix(at);
      if (!rest.empty()) RunOne(&rest, &out);
    }
    const size_t given = is_tuple_                                      ? arguments_.items().size()
                         : arguments_.is_dict() || arguments_.is_list() ? used_
                                                                        : 1;
    if (r_->ok() && used_ < given) r_->Fail("'%': more values than the text has places");
    return out;
  }

 private:
  void RunOne(absl::string_view* rest, std::string* out) {
    rest->remove_prefix(1);
    if (absl::ConsumePrefix(rest, "%")) return r_->Append(out, "%");
    Value named;
    const bool by_name = absl::ConsumePrefix(rest, "(");
    if (by_name) named = TakeNamed(rest);
    Spec spec;
    spec.align = '>';
    for (bool flag = true; flag && !rest->empty();) {
      flag = false;
      if (absl::ConsumePrefix(rest, "-")) spec.align = '<', flag = true;
      if (absl::ConsumePrefix(rest, "+")) spec.plus = flag = true;
      if (absl::ConsumePrefix(rest, "0")) spec.fill = "0", flag = true;
      if (absl::ConsumePrefix(rest, "#") || absl::ConsumePrefix(rest, " ")) flag = true;
    }
    if (!TakeWidth(rest, &spec) || rest->empty() || !r_->ok()) {
      r_->Fail("'%': the format is not supported");
      return;
    }
    spec.type = rest->front();
    rest->remove_prefix(1);
    const Value value = by_name ? named : TakeNext();
    if (!r_->ok()) return;
    if (spec.fill == "0") spec.align = spec.align == '<' ? '<' : '=';
    if (spec.type != 's' && spec.type != 'r') return AppendNumber(r_, spec, value, out);
    spec.fill = " ";
    if (spec.align == '=') spec.align = '>';
    std::string text;
    spec.type == 's' ? Print(r_, value, &text) : PrintRepr(r_, value, &text);
    AppendText(r_, spec, text, out);
  }

  Value TakeNamed(absl::string_view* rest) {
    const size_t end = rest->find(')');
    if (end == absl::string_view::npos || !arguments_.is_dict()) return r_->Fail("'%': '(name)' needs a dict");
    const Value* found = arguments_.dict().Find(rest->substr(0, end));
    if (found == nullptr) return r_->Fail(absl::StrCat("'%': the dict has no '", rest->substr(0, end), "'"));
    rest->remove_prefix(end + 1);
    return *found;
  }

  Value TakeNext() {
    const size_t given = is_tuple_ ? arguments_.items().size() : 1;
    if (used_ >= given) return r_->Fail("'%': fewer values than the text has places");
    return is_tuple_ ? arguments_.items()[used_++] : (++used_, arguments_);
  }

  Rendering* const r_;
  const Value& arguments_;
  const bool is_tuple_;
  size_t used_ = 0;
};

// ---- '{}'.format(x) ----

class BraceFormatter final {
 public:
  BraceFormatter(Rendering* r, const Args& args) : r_(r), args_(args) {}

  std::string Run(absl::string_view rest) {
    std::string out;
    while (r_->ok() && !rest.empty()) {
      const size_t at = std::min(rest.find_first_of("{}"), rest.size());
      r_->Append(&out, rest.substr(0, at));
      rest.remove_prefix(at);
      if (rest.empty()) break;
      const char brace = rest.front();
      rest.remove_prefix(1);
      if (!rest.empty() && rest.front() == brace) {
        rest.remove_prefix(1);
        r_->Append(&out, std::string(1, brace));
        continue;
      }
      const size_t end = rest.find('}');
      const absl::string_view field = rest.substr(0, end);
      if (brace == '}' || end == absl::string_view::npos || field.find('{') != absl::string_view::npos) {
        r_->Fail("format(): braces do not match, or nest");
        return out;
      }
      RunField(field, &out);
      rest.remove_prefix(end + 1);
    }
    return out;
  }

 private:
  void RunField(absl::string_view field, std::string* out) {
    const size_t colon = field.find(':');
    const absl::string_view format = colon == absl::string_view::npos ? "" : field.substr(colon + 1);
    absl::string_view name = field.substr(0, colon);
    const bool repr = absl::ConsumeSuffix(&name, "!r");
    const bool text = absl::ConsumeSuffix(&name, "!s");
    Value value = Lookup(name);
    if (repr) {
      std::string printed;
      PrintRepr(r_, value, &printed);
      value = r_->String(std::move(printed));
    } else if (text) {
      value = r_->String(ToText(r_, value));
    }
    if (r_->ok()) AppendValue(value, format, out);
  }

  Value Lookup(absl::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    absl::string_view first = name.substr(0, end), rest = name.substr(end);
    Value value = First(first);
    while (r_->ok() && !rest.empty()) {
      if (absl::ConsumePrefix(&rest, ".")) {
        const size_t stop = std::min(rest.find_first_of(".["), rest.size());
        value = GetAttribute(r_, value, std::string(rest.substr(0, stop)));
        rest.remove_prefix(stop);
        continue;
      }
      const size_t stop = rest.find(']');
      if (rest.front() != '[' || stop == absl::string_view::npos) return r_->Fail("format(): a wrong field name");
      const absl::string_view key = rest.substr(1, stop - 1);
      int64_t index = 0;
      value = GetItem(r_, value, absl::SimpleAtoi(key, &index) ? Value::Int(index) : r_->String(std::string(key)));
      rest.remove_prefix(stop + 1);
    }
    return value;
  }

  Value First(absl::string_view name) {
    uint64_t index = 0;
    if (name.empty() || (IsDigit(name[0]) && absl::SimpleAtoi(name, &index))) {
      if (name.empty()) index = next_++;
      if (index < args_.positional.size()) return args_.positional[index];
      return r_->Fail(absl::StrCat("format(): there is no value ", index));
    }
    for (const auto& [key, value] : args_.named) {
      if (key == name) return value;
    }
    return r_->Fail(absl::StrCat("format(): there is no '", name, "'"));
  }

  void AppendValue(const Value& value, absl::string_view format, std::string* out) {
    if (format.empty()) return Print(r_, value, out);
    Spec spec;
    const size_t fill = text::CharLength(format[0]);
    const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
    if (format.size() > fill && is_align(format[fill])) {
      spec.fill = std::string(format.substr(0, fill));
      spec.align = format[fill];
      format.remove_prefix(fill + 1);
    } else if (is_align(format[0])) {
      spec.align = format[0];
      format.remove_prefix(1);
    }
    spec.plus = absl::ConsumePrefix(&format, "+");
    if (spec.align == '\0' && absl::ConsumePrefix(&format, "0")) spec.fill = "0", spec.align = '=';
    const bool good = TakeWidth(&format, &spec) && format.size() <= 1;
    if (!good) {
      r_->Fail("format(): this format is not supported");
      return;
    }
    if (!format.empty()) spec.type = format[0];
    if (value.is_string() && (spec.type == '\0' || spec.type == 's')) return AppendText(r_, spec, value.text(), out);
    if (!value.is_number()) {
      r_->Fail(absl::StrCat("format(): this format is not defined for a ", TypeName(value)));
      return;
    }
    if (spec.type == '\0' && value.is_integer()) spec.type = 'd';
    if (spec.type == '\0') {
      r_->Fail("format(): a number with a fraction needs the type f");
      return;
    }
    AppendNumber(r_, spec, value, out);
  }

  Rendering* const r_;
  const Args& args_;
  size_t next_ = 0;
};

}  // namespace

std::string PadText(Rendering* r, absl::string_view text, int64_t width, char align, absl::string_view fill) {
  const auto size = static_cast<int64_t>(CharIndex(text, text.size()));
  if (width > kWidthMax) r->FailLimit(absl::StrCat("a width of ", width, " is over the limit of ", kWidthMax));
  if (!r->ok() || width <= size) return std::string(text);
  const int64_t missing = width - size;
  const int64_t odd = align == 'c' ? missing & width & 1 : 0;
  const int64_t left = align == '<' ? 0 : align == '^' || align == 'c' ? missing / 2 + odd : missing;
  const auto filled = [fill](int64_t count) {
    std::string out;
    for (int64_t i = 0; i < count; ++i) absl::StrAppend(&out, fill);
    return out;
  };
  const bool has_sign = align == '=' && !text.empty() && (text[0] == '-' || text[0] == '+');
  if (has_sign) return absl::StrCat(text.substr(0, 1), filled(missing), text.substr(1));
  return absl::StrCat(filled(left), text, filled(missing - left));
}

std::string ReplaceText(Rendering* r, absl::string_view text, absl::string_view from, absl::string_view to,
                        int64_t count) {
  std::string out;
  int64_t done = 0;
  size_t at = 0;
  while (r->ok() && (count < 0 || done < count)) {
    // An empty `from` is found in front of every character and at the end.
    const size_t found = from.empty() ? (at <= text.size() ? at : absl::string_view::npos) : FindText(text, from, at);
    if (found == absl::string_view::npos) break;
    r->Append(&out, text.substr(at, found - at));
    r->Append(&out, to);
    at = found + from.size();
    ++done;
    if (!from.empty()) continue;
    if (at == text.size()) return out;
    const size_t length = text::CharLength(text[at]);
    r->Append(&out, text.substr(at, length));
    at += length;
  }
  r->Append(&out, text.substr(std::min(at, text.size())));
  return out;
}

Value PercentFormat(Rendering* r, const Value& format, const Value& arguments) {
  if (!r->SpendText(format.text().size())) return Value();
  std::string out = PercentFormatter(r, arguments).Run(format.text());
  return r->String(std::move(out));
}

Value BraceFormat(Rendering* r, absl::string_view format, const Args& args) {
  if (!r->SpendText(format.size())) return Value();
  std::string out = BraceFormatter(r, args).Run(format);
  return r->String(std::move(out));
}

}  // namespace quire::jinja
