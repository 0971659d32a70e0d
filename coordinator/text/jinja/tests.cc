#include "coordinator/text/jinja/tests.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"

namespace quire::jinja {
namespace {

using Predicate = bool (*)(const Value& value);

bool IsSequence(const Value& value) {
  if (value.is_list()) return value.list().form != ListForm::kView;
  return value.is_string() || value.is_dict() || value.is_undefined();
}

bool IsIterable(const Value& value) {
  return value.is_list() || value.is_string() || value.is_dict() || value.is_undefined() ||
         value.As<Iterator>() != nullptr || value.As<Loop>() != nullptr;
}

// Tests that take nothing but the value.
constexpr std::pair<absl::string_view, Predicate> kPredicates[] = {
    {"boolean", [](const Value& v) { return v.is_bool(); }},
    {"callable", [](const Value& v) { return v.As<Function>() != nullptr || v.is_undefined(); }},
    {"defined", [](const Value& v) { return !v.is_undefined(); }},
    {"escaped", [](const Value& v) { return v.is_string() && v.string().safe; }},
    {"false", [](const Value& v) { return v.is_bool() && !v.boolean(); }},
    {"float", [](const Value& v) { return v.kind() == Kind::kFloat; }},
    {"integer", [](const Value& v) { return v.kind() == Kind::kInt; }},
    {"iterable", IsIterable},
    {"mapping", [](const Value& v) { return v.is_dict(); }},
    {"none", [](const Value& v) { return v.is_none(); }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"sequence", IsSequence},
    {"string", [](const Value& v) { return v.is_string(); }},
    {"true", [](const Value& v) { return v.is_bool() && v.boolean(); }},
    {"undefined", [](const Value& v) { return v.is_undefined(); }},
};

// Tests that are comparisons with their one argument.
constexpr std::pair<absl::string_view, Op> kComparisons[] = {
    {"eq", Op::kEqual},     {"equalto", Op::kEqual},   {"==", Op::kEqual},        {"ne", Op::kNotEqual},
    {"!=", Op::kNotEqual},  {"lt", Op::kLess},         {"lessthan", Op::kLess},   {"<", Op::kLess},
    {"le", Op::kLessEqual}, {"<=", Op::kLessEqual},    {"gt", Op::kGreater},      {"greaterthan", Op::kGreater},
    {">", Op::kGreater},    {"ge", Op::kGreaterEqual}, {">=", Op::kGreaterEqual}, {"in", Op::kIn},
};

constexpr absl::string_view kOthers[] = {"divisibleby", "even", "filter", "lower", "odd", "sameas", "test", "upper"};

// The same object: equal plain values of one type, or the same container.
bool IsSame(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  int64_t steps = int64_t{1} << 40;
  switch (a.kind()) {
    case Kind::kList:
      return &a.list() == &b.list();
    case Kind::kDict:
      return &a.dict() == &b.dict();
    default:
      return Equal(a, b, &steps);
  }
}

bool IsDivisible(Rendering* r, const Value& value, const Value& by) {
  const Value rest = Binary(r, Op::kModulo, value, by);
  return r->ok() && rest.is_number() && rest.number() == 0;
}

bool ApplyOther(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  if (name == "even" || name == "odd") {
    const Bound bound(r, name, args, {});
    const Value rest = Binary(r, Op::kModulo, value, Value::Int(2));
    return r->ok() && rest.is_number() && rest.number() == (name == "odd" ? 1 : 0);
  }
  if (name == "lower" || name == "upper") {
    const Bound bound(r, name, args, {});
    const Value text = r->String(ToText(r, value));
    return r->ok() && Truth(CallStringMethod(r, text, "is" + name, args));
  }
  if (name == "filter" || name == "test") {
    const Bound bound(r, name, args, {});
    return value.is_string() && (name == "filter" ? IsFilter(value.text()) : IsTest(value.text()));
  }
  const Bound bound(r, name, args, {"other"}, 1);
  if (!r->ok()) return false;
  return name == "sameas" ? IsSame(value, *bound.at(0)) : IsDivisible(r, value, *bound.at(0));
}

template <typename Table>
auto FindIn(const Table& table, absl::string_view name) {
  const auto* entry =
      std::find_if(std::begin(table), std::end(table), [name](const auto& known) { return known.first == name; });
  return entry == std::end(table) ? nullptr : entry;
}

}  // namespace

bool IsTest(absl::string_view name) {
  return FindIn(kPredicates, name) != nullptr || FindIn(kComparisons, name) != nullptr ||
         std::find(std::begin(kOthers), std::end(kOthers), name) != std::end(kOthers);
}

bool ApplyTest(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  if (!r->Spend(1)) return false;
  if (const auto* predicate = FindIn(kPredicates, name)) {
    const Bound bound(r, name, args, {});
    return r->ok() && predicate->second(value);
  }
  if (const auto* comparison = FindIn(kComparisons, name)) {
    const Bound bound(r, name, args, {"other"}, 1);
    return r->ok() && Compare(r, comparison->second, value, *bound.at(0));
  }
  if (IsTest(name)) return ApplyOther(r, name, value, args);
  r->Fail(absl::StrCat("there is no test '", name, "'"));
  return false;
}

}  // namespace quire::jinja
