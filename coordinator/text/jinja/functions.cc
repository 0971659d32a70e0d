#include "coordinator/text/jinja/functions.h"

#include <time.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/utf8.h"

namespace quire::jinja {
namespace {

constexpr absl::string_view kFunctions[] = {"dict", "namespace", "raise_exception", "range", "strftime_now"};
constexpr int64_t kRangeMax = 100'000;  // as Jinja2's sandbox
constexpr size_t kTimeFormatMax = 256;

Value Range(Rendering* r, const Args& args) {
  const Bound bound(r, "range()", args, {"start", "stop", "step"}, 1);
  if (!args.named.empty()) return r->Fail("range() takes no named arguments");
  const bool one = bound.at(1) == nullptr;
  const int64_t start = one ? 0 : bound.Int(0, 0), stop = one ? bound.Int(0, 0) : bound.Int(1, 0);
  const int64_t step = bound.Int(2, 1);
  if (!r->ok()) return Value();
  if (step == 0) return r->Fail("range(): the step must not be 0");
  std::vector<Value> items;
  int64_t at = start;
  while (step > 0 ? at < stop : at > stop) {
    if (static_cast<int64_t>(items.size()) == kRangeMax) {
      return r->Fail(absl::StrCat("range() has more than ", kRangeMax, " items"));
    }
    items.push_back(Value::Int(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return r->List(std::move(items), ListForm::kRange);
}

// dict(mapping or pairs, **named).
Entries MakeEntries(Rendering* r, const std::string& name, const Args& args) {
  Entries entries;
  if (args.positional.size() > 1) r->Fail(absl::StrCat(name, "() takes at most one argument by place"));
  if (!r->ok()) return entries;
  if (!args.positional.empty() && args.positional[0].is_dict()) {
    r->Spend(static_cast<int64_t>(args.positional[0].dict().entries.size()));
    if (r->ok()) entries = args.positional[0].dict().entries;
  } else if (!args.positional.empty()) {
    const Value pairs = Iterate(r, args.positional[0]);
    for (const Value& pair : pairs.items()) {
      const Value both = Iterate(r, pair);
      if (both.items().size() != 2) r->Fail(absl::StrCat(name, "() needs pairs of key and value"));
      if (!r->ok()) return entries;
      entries.emplace_back(both.items()[0], both.items()[1]);
    }
  }
  for (const auto& [key, value] : args.named) entries.emplace_back(r->String(key), value);
  return entries;
}

Value MakeNamespace(Rendering* r, const Args& args) {
  const Value dict = r->Dict(MakeEntries(r, "namespace", args));
  if (!r->ok()) return Value();
  for (const auto& entry : dict.dict().entries) {
    if (!entry.first.is_string() || !IsNamespaceName(entry.first.text())) {
      return r->Fail("namespace(): names are strings that do not begin with an underscore");
    }
  }
  return r->NewNamespace(dict.dict().entries);
}

Value StrftimeNow(Rendering* r, const Args& args) {
  const Bound bound(r, "strftime_now()", args, {"format"}, 1);
  const std::string format = bound.Text(0, "");
  if (!r->ok()) return Value();
  if (format.size() > kTimeFormatMax) return r->FailLimit("strftime_now(): the format is too long");
  const tm now = absl::ToTM(r->clock().now, r->clock().zone);
  // The letter in front tells an empty result from one that did not fit.
  char buffer[4096];
  const size_t length = strftime(buffer, sizeof(buffer), absl::StrCat("x", format).c_str(), &now);
  if (length == 0) return r->FailLimit("strftime_now(): the result is too long");
  std::string text(buffer + 1, length - 1);
  if (text::FindInvalidUtf8(text) != absl::string_view::npos) return r->Fail("strftime_now(): the format is wrong");
  return r->String(std::move(text));
}

}  // namespace

bool IsGlobalFunction(absl::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

bool IsNamespaceName(absl::string_view name) { return !absl::StartsWith(name, "_"); }

Value CallGlobalFunction(Rendering* r, const std::string& name, const Args& args) {
  if (name == "range") return Range(r, args);
  if (name == "namespace") return MakeNamespace(r, args);
  if (name == "dict") return r->Dict(MakeEntries(r, "dict", args));
  if (name == "strftime_now") return StrftimeNow(r, args);
  const Bound bound(r, "raise_exception()", args, {"message"}, 1);
  return r->ok() ? r->Fail(ToText(r, *bound.at(0))) : Value();
}

}  // namespace quire::jinja
