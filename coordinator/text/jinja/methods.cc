#include "coordinator/text/jinja/methods.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/operators.h"

namespace quire::jinja {
namespace {

constexpr absl::string_view kDictMethods[] = {"copy", "fromkeys", "get", "items", "keys", "values"};
constexpr absl::string_view kDictChanges[] = {"clear", "pop", "popitem", "setdefault", "update"};
constexpr absl::string_view kListMethods[] = {"copy", "count", "index"};
constexpr absl::string_view kListChanges[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr absl::string_view kTupleMethods[] = {"count", "index"};

template <size_t kSize>
bool IsIn(const absl::string_view (&names)[kSize], absl::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

MethodAccess Access(bool allowed, bool forbidden) {
  return allowed ? MethodAccess::kAllowed : forbidden ? MethodAccess::kForbidden : MethodAccess::kNone;
}

Value CallDict(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  const DictBox& dict = self.dict();
  if (name == "get") {
    const Bound bound(r, "get()", args, {"key", "default"}, 1);
    if (!r->ok()) return Value();
    if (!args.named.empty()) return r->Fail("get() takes no named arguments");
    if (!IsHashable(*bound.at(0))) return r->Fail(absl::StrCat("a ", TypeName(*bound.at(0)), " cannot be a key"));
    if (!bound.at(0)->is_string()) r->Spend(static_cast<int64_t>(dict.entries.size()));
    const Value* found = dict.Find(*bound.at(0));
    return found != nullptr ? *found : bound.Or(1, Value::None());
  }
  const Bound bound(r, name, args, {});
  if (!r->ok() || !r->Spend(static_cast<int64_t>(dict.entries.size()))) return Value();
  if (name == "copy") return self;
  if (name == "fromkeys") return r->Fail("the method 'fromkeys' is not supported");
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    items.push_back(name == "keys" ? key : name == "values" ? value : r->List({key, value}, ListForm::kTuple));
  }
  return r->List(std::move(items), ListForm::kView);
}

Value CallList(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  if (name == "copy") {
    const Bound bound(r, "copy()", args, {});
    return self;
  }
  const Bound bound(r, name, args, {"value", "start", "stop"}, 1);
  if (!r->ok()) return Value();
  const std::vector<Value>& items = self.items();
  if (name == "count") {
    int64_t count = 0;
    for (const Value& item : items) count += r->ok() && r->Equal(item, *bound.at(0)) ? 1 : 0;
    return Value::Int(count);
  }
  if (bound.at(1) != nullptr) return r->Fail("index() with a start is not supported");
  for (size_t i = 0; i < items.size() && r->ok(); ++i) {
    if (r->Equal(items[i], *bound.at(0))) return Value::Int(static_cast<int64_t>(i));
  }
  return r->Fail("index(): the value is not in the list");
}

Value CallLoop(Rendering* r, const Loop& loop, const std::string& name, const Args& args) {
  if (name != "cycle") return r->Fail(absl::StrCat("loop.", name, "() is not supported"));
  if (args.positional.empty()) return r->Fail("loop.cycle() needs values");
  return args.positional[loop.index % args.positional.size()];
}

}  // namespace

MethodAccess FindMethod(const Value& object, absl::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return Access(IsStringMethod(name), false);
    case Kind::kDict:
      return Access(IsIn(kDictMethods, name), IsIn(kDictChanges, name));
    case Kind::kList:
      switch (object.list().form) {
        case ListForm::kList:
          return Access(IsIn(kListMethods, name), IsIn(kListChanges, name));
        case ListForm::kTuple:
        case ListForm::kRange:
          return Access(IsIn(kTupleMethods, name), false);
        case ListForm::kView:
          return MethodAccess::kNone;
      }
      return MethodAccess::kNone;
    default:
      return MethodAccess::kNone;
  }
}

Value CallMethod(Rendering* r, const Value& self, const std::string& name, const Args& args) {
  if (const auto* loop = self.As<Loop>()) return CallLoop(r, *loop, name, args);
  if (self.is_dict()) return CallDict(r, self, name, args);
  if (self.is_list()) return CallList(r, self, name, args);
  return CallStringMethod(r, self, name, args);
}

}  // namespace quire::jinja
