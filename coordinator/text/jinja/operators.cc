#include "coordinator/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/format.h"
#include "coordinator/text/jinja/print.h"

namespace quire::jinja {
namespace {

const char* Sign(Op op) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSubtract:
      return "-";
    case Op::kMultiply:
      return "*";
    case Op::kDivide:
      return "/";
    case Op::kFloorDivide:
      return "//";
    case Op::kModulo:
      return "%";
    default:
      return "**";
  }
}

Value FailTypes(Rendering* r, Op op, const Value& a, const Value& b) {
  return r->Fail(absl::StrCat("'", Sign(op), "' is not defined for ", TypeName(a), " and ", TypeName(b)));
}

// Base to a power that is not negative, and false on overflow.
bool IntPower(int64_t base, int64_t power, int64_t* out) {
  *out = 1;
  while (power > 0) {
    if ((power & 1) != 0 && __builtin_mul_overflow(*out, base, out)) return false;
    power >>= 1;
    if (power > 0 && __builtin_mul_overflow(base, base, &base)) return false;
  }
  return true;
}

double FloorModulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

Value IntBinary(Rendering* r, Op op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool fits = true;
  switch (op) {
    case Op::kAdd:
      fits = !__builtin_add_overflow(a, b, &out);
      break;
    case Op::kSubtract:
      fits = !__builtin_sub_overflow(a, b, &out);
      break;
    case Op::kMultiply:
      fits = !__builtin_mul_overflow(a, b, &out);
      break;
    case Op::kPower:
      if (b < 0) return Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
      fits = IntPower(a, b, &out);
      break;
    default: {
      if (b == -1) {  // the smallest integer has no negative
        if (op == Op::kModulo) return Value::Int(0);
        fits = !__builtin_sub_overflow(int64_t{0}, a, &out);
        break;
      }
      const int64_t rest = a % b;
      const bool adjust = rest != 0 && (rest < 0) != (b < 0);
      out = op == Op::kModulo ? (adjust ? rest + b : rest) : a / b - (adjust ? 1 : 0);
    }
  }
  if (!fits) return r->Fail(absl::StrCat("'", Sign(op), "': the result does not fit 64 bits"));
  return Value::Int(out);
}

Value NumberBinary(Rendering* r, Op op, const Value& a, const Value& b) {
  const bool divides = op == Op::kDivide || op == Op::kFloorDivide || op == Op::kModulo;
  if (divides && b.number() == 0) return r->Fail("division by zero");
  if (op == Op::kPower && a.number() == 0 && b.number() < 0) return r->Fail("division by zero");
  if (a.is_integer() && b.is_integer() && op != Op::kDivide) return IntBinary(r, op, a.integer(), b.integer());
  const double x = a.number(), y = b.number();
  switch (op) {
    case Op::kAdd:
      return Value::Float(x + y);
    case Op::kSubtract:
      return Value::Float(x - y);
    case Op::kMultiply:
      return Value::Float(x * y);
    case Op::kDivide:
      return Value::Float(x / y);
    case Op::kFloorDivide:
      return Value::Float(std::floor((x - FloorModulo(x, y)) / y + 0.5));
    case Op::kModulo:
      return Value::Float(FloorModulo(x, y));
    default: {
      const double power = std::pow(x, y);
      if (std::isnan(power) && !std::isnan(x) && !std::isnan(y)) return r->Fail("'**': the result is no real number");
      return Value::Float(power);
    }
  }
}

Value AddSequences(Rendering* r, const Value& a, const Value& b) {
  if (a.is_string()) {
    const bool safe = a.string().safe || b.string().safe;
    const auto part = [safe](const Value& v) { return safe && !v.string().safe ? EscapeHtml(v.text()) : v.text(); };
    return r->String(part(a) + part(b), safe);
  }
  std::vector<Value> items = a.items();
  if (!r->Spend(static_cast<int64_t>((items.size() + b.items().size()) / 8))) return Value();
  items.insert(items.end(), b.items().begin(), b.items().end());
  return r->List(std::move(items), a.list().form);
}

bool IsPlainList(const Value& value) {
  return value.is_list() && (value.list().form == ListForm::kList || value.list().form == ListForm::kTuple);
}

Value Repeat(Rendering* r, const Value& sequence, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const size_t size = sequence.is_string() ? sequence.text().size() : sequence.items().size();
  constexpr int64_t kMost = 1 << 28;
  if (size > 0 && times > kMost / static_cast<int64_t>(size)) return r->FailLimit("'*': the result is too long");
  if (!r->Spend(static_cast<int64_t>(size) * times / (sequence.is_string() ? 256 : 8))) return Value();
  if (sequence.is_string()) {
    std::string out;
    for (int64_t i = 0; i < times && size > 0; ++i) out += sequence.text();
    return r->String(std::move(out), sequence.string().safe);
  }
  std::vector<Value> items;
  for (int64_t i = 0; i < times && size > 0; ++i) {
    items.insert(items.end(), sequence.items().begin(), sequence.items().end());
  }
  return r->List(std::move(items), sequence.list().form);
}

bool Contains(Rendering* r, const Value& part, const Value& whole) {
  switch (whole.kind()) {
    case Kind::kUndefined:
      return false;  // it is empty
    case Kind::kString:
      if (!part.is_string()) {
        r->Fail(absl::StrCat("'in' a string needs a string, not a ", TypeName(part)));
        return false;
      }
      r->SpendText(whole.text().size());
      return FindText(whole.text(), part.text()) != absl::string_view::npos;
    case Kind::kDict:
      if (!IsHashable(part)) r->Fail(absl::StrCat("a ", TypeName(part), " cannot be the key of a dict"));
      r->Spend(static_cast<int64_t>(part.is_string() ? part.text().size() / 64 : whole.dict().entries.size()));
      return r->ok() && whole.dict().Find(part) != nullptr;
    case Kind::kList:
      break;
    default:
      if (whole.As<Iterator>() != nullptr) break;
      r->Fail(absl::StrCat("'in': a ", TypeName(whole), " holds nothing"));
      return false;
  }
  const Value list = Iterate(r, whole);
  for (const Value& item : list.items()) {
    if (!r->ok()) return false;
    if (r->Equal(item, part)) return true;
  }
  return false;
}

}  // namespace

Value FailUndefined(Rendering* r, const Value& value) { return r->Fail(absl::StrCat(value.hint(), " is undefined")); }

Value Binary(Rendering* r, Op op, const Value& a, const Value& b) {
  if (!r->ok()) return Value();
  if (a.is_number() && b.is_number()) return NumberBinary(r, op, a, b);
  if (op == Op::kModulo && a.is_string()) return PercentFormat(r, a, b);
  if (a.is_undefined()) return FailUndefined(r, a);
  if (b.is_undefined()) return FailUndefined(r, b);
  const bool same_lists = IsPlainList(a) && IsPlainList(b) && a.list().form == b.list().form;
  if (op == Op::kAdd && ((a.is_string() && b.is_string()) || same_lists)) return AddSequences(r, a, b);
  if (op == Op::kMultiply && (a.is_string() || IsPlainList(a)) && b.is_integer()) return Repeat(r, a, b.integer());
  if (op == Op::kMultiply && a.is_integer() && (b.is_string() || IsPlainList(b))) return Repeat(r, b, a.integer());
  return FailTypes(r, op, a, b);
}

bool Compare(Rendering* r, Op op, const Value& a, const Value& b) {
  if (!r->ok()) return false;
  switch (op) {
    case Op::kEqual:
      return r->Equal(a, b);
    case Op::kNotEqual:
      return !r->Equal(a, b);
    case Op::kIn:
      return Contains(r, a, b);
    case Op::kNotIn:
      return !Contains(r, a, b);
    default:
      break;
  }
  if (a.is_undefined() || b.is_undefined()) {
    FailUndefined(r, a.is_undefined() ? a : b);
    return false;
  }
  const bool unordered = (a.is_number() && std::isnan(a.number())) || (b.is_number() && std::isnan(b.number()));
  const int order = r->Order(a, b);
  if (unordered || !r->ok()) return false;
  switch (op) {
    case Op::kLess:
      return order < 0;
    case Op::kLessEqual:
      return order <= 0;
    case Op::kGreater:
      return order > 0;
    default:
      return order >= 0;
  }
}

Value Minus(Rendering* r, const Value& value) {
  if (!r->ok()) return Value();
  if (value.is_integer()) return IntBinary(r, Op::kSubtract, 0, value.integer());
  if (value.is_number()) return Value::Float(-value.number());
  if (value.is_undefined()) return FailUndefined(r, value);
  return r->Fail(absl::StrCat("'-' is not defined for a ", TypeName(value)));
}

Value Plus(Rendering* r, const Value& value) {
  if (!r->ok()) return Value();
  if (value.is_integer()) return Value::Int(value.integer());
  if (value.is_number()) return value;
  if (value.is_undefined()) return FailUndefined(r, value);
  return r->Fail(absl::StrCat("'+' is not defined for a ", TypeName(value)));
}

}  // namespace quire::jinja
