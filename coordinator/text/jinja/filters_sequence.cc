// The filters that take sequences and dicts (filters.h).
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/filters.h"
#include "coordinator/text/jinja/operators.h"
#include "coordinator/text/jinja/print.h"
#include "coordinator/text/jinja/tests.h"

namespace quire::jinja {
namespace {

// `a.b.0` of a value, as `attribute=` means it. Requires: a string or an integer.
Value Dig(Rendering* r, Value value, const Value& path) {
  if (!path.is_string()) return GetItem(r, value, path);
  for (const absl::string_view part : absl::StrSplit(path.text(), '.')) {
    int64_t index = 0;
    const bool is_index = !part.empty() && part.find_first_not_of("0123456789") == absl::string_view::npos;
    value = GetItem(r, value,
                    is_index && absl::SimpleAtoi(part, &index) ? Value::Int(index) : r->String(std::string(part)));
  }
  return value;
}

bool IsPath(const Value* value) { return value != nullptr && !value->is_none(); }

Value FailPath(Rendering* r, const std::string& name) {
  return r->Fail(absl::StrCat(name, ": the attribute must be a string or an integer"));
}

bool GoodPath(const Value* value) { return !IsPath(value) || value->is_string() || value->is_integer(); }

// What sort, unique, min and max compare: the attribute, lower case unless asked otherwise.
Value Key(Rendering* r, const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = IsPath(attribute) ? Dig(r, item, *attribute) : item;
  if (!key.is_string() || case_sensitive || !r->SpendChars(key.text().size())) return key;
  return r->String(ToLower(key.text()));
}

using Keyed = std::vector<std::pair<Value, Value>>;  // key, item

Keyed WithKeys(Rendering* r, const Value& value, const Value* attribute, bool case_sensitive) {
  Keyed keyed;
  const Value list = Iterate(r, value);
  for (const Value& item : list.items()) {
    if (!r->ok()) break;
    keyed.emplace_back(Key(r, item, attribute, case_sensitive), item);
  }
  return keyed;
}

void SortByKey(Rendering* r, bool reverse, Keyed* keyed) {
  std::stable_sort(keyed->begin(), keyed->end(), [&](const auto& a, const auto& b) {
    if (!r->ok()) return false;
    return reverse ? r->Order(b.first, a.first) < 0 : r->Order(a.first, b.first) < 0;
  });
}

Value Sort(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"reverse", "case_sensitive", "attribute"});
  if (!GoodPath(bound.at(2))) return FailPath(r, name);
  Keyed keyed = WithKeys(r, value, bound.at(2), bound.Flag(1, false));
  SortByKey(r, bound.Flag(0, false), &keyed);
  std::vector<Value> items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return r->List(std::move(items));
}

Value DictSort(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.Text(1, "key");
  if (!value.is_dict()) return r->Fail(absl::StrCat("dictsort needs a dict, not a ", TypeName(value)));
  if (by != "key" && by != "value") return r->Fail("dictsort: by is 'key' or 'value'");
  Keyed keyed;
  for (const auto& [key, item] : value.dict().entries) {
    keyed.emplace_back(Key(r, by == "key" ? key : item, nullptr, bound.Flag(0, false)),
                       r->List({key, item}, ListForm::kTuple));
  }
  SortByKey(r, bound.Flag(2, false), &keyed);
  std::vector<Value> items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return r->List(std::move(items));
}

Value Unique(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"case_sensitive", "attribute"});
  if (!GoodPath(bound.at(1))) return FailPath(r, name);
  std::vector<Value> keys, items;
  for (auto& [key, item] : WithKeys(r, value, bound.at(1), bound.Flag(0, false))) {
    const Value& wanted = key;
    if (!IsHashable(wanted)) return r->Fail(absl::StrCat("unique: a ", TypeName(wanted), " cannot be a key"));
    const bool known =
        std::any_of(keys.begin(), keys.end(), [&](const Value& seen) { return r->ok() && r->Equal(seen, wanted); });
    if (known) continue;
    keys.push_back(key);
    items.push_back(item);
  }
  return r->NewIterator(std::move(items));
}

Value MinMax(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"case_sensitive", "attribute"});
  if (!GoodPath(bound.at(1))) return FailPath(r, name);
  const Keyed keyed = WithKeys(r, value, bound.at(1), bound.Flag(0, false));
  if (keyed.empty()) return Value::Undefined(absl::StrCat("the ", name, " of nothing"));
  const std::pair<Value, Value>* best = &keyed[0];
  for (const auto& entry : keyed) {
    if (!r->ok()) break;
    const int order = r->Order(entry.first, best->first);
    if (name == "min" ? order < 0 : order > 0) best = &entry;
  }
  return best->second;
}

Value Sum(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"attribute", "start"});
  if (!GoodPath(bound.at(0))) return FailPath(r, name);
  Value sum = bound.Or(1, Value::Int(0));
  if (sum.is_string()) return r->Fail("sum: texts are joined by join");
  for (const auto& entry : WithKeys(r, value, bound.at(0), true)) {
    if (!r->ok()) break;
    sum = Binary(r, Op::kAdd, sum, entry.first);
  }
  return sum;
}

Value Join(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"d", "attribute"});
  if (!GoodPath(bound.at(1))) return FailPath(r, name);
  const std::string separator = bound.at(0) == nullptr ? "" : ToText(r, *bound.at(0));
  const Value list = Iterate(r, value);
  std::string out;
  for (size_t i = 0; i < list.items().size() && r->ok(); ++i) {
    if (i > 0) r->Append(&out, separator);
    Print(r, IsPath(bound.at(1)) ? Dig(r, list.items()[i], *bound.at(1)) : list.items()[i], &out);
  }
  return r->String(std::move(out));
}

Value First(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  if (auto* iterator = value.As<Iterator>(); iterator != nullptr && iterator->list.is_list()) {
    const std::vector<Value>& items = iterator->list.items();
    return iterator->next < items.size() ? items[iterator->next++] : Value::Undefined("the first of nothing");
  }
  const Value list = value.is_string() ? Value::List({}) : Iterate(r, value);
  if (value.is_string() && !value.text().empty()) return GetItem(r, value, Value::Int(0));
  return list.items().empty() ? Value::Undefined("the first of nothing") : list.items().front();
}

Value Last(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  if (value.As<Iterator>() != nullptr) return r->Fail("last: a generator cannot be reversed");
  if (value.is_string() && !value.text().empty()) return GetItem(r, value, Value::Int(-1));
  const Value list = value.is_string() ? Value::List({}) : Iterate(r, value);
  return list.items().empty() ? Value::Undefined("the last of nothing") : list.items().back();
}

Value List(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  const Value list = Iterate(r, value);
  return list.list().form == ListForm::kList ? list : r->List(list.items());
}

Value Reverse(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  if (value.is_string()) return GetSlice(r, value, Value::None(), Value::None(), Value::Int(-1));
  const Value list = Iterate(r, value);
  return r->NewIterator(std::vector<Value>(list.items().rbegin(), list.items().rend()));
}

Value Items(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {});
  std::vector<Value> items;
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().entries) items.push_back(r->List({key, item}, ListForm::kTuple));
  } else if (!value.is_undefined()) {
    return r->Fail(absl::StrCat("items: a ", TypeName(value), " is no dict"));
  }
  return r->NewIterator(std::move(items));
}

Value Attr(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"name"}, 1);
  const std::string attribute = bound.Text(0, "");
  // getattr() only: the items of a dict are no attributes.
  if (value.is_dict() || !r->ok()) return Value::Undefined(absl::StrCat("'", attribute, "'"));
  return GetAttribute(r, value, attribute);
}

Value Map(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Value list = Iterate(r, value);
  std::vector<Value> items;
  if (args.positional.empty()) {
    const Bound bound(r, name, args, {"attribute", "default"}, 1);
    if (!r->ok() || !GoodPath(bound.at(0)) || !IsPath(bound.at(0))) return FailPath(r, name);
    for (const Value& item : list.items()) {
      if (!r->ok()) break;
      const Value found = Dig(r, item, *bound.at(0));
      items.push_back(found.is_undefined() ? bound.Or(1, found) : found);
    }
    return r->NewIterator(std::move(items));
  }
  Args rest = args;
  rest.positional.erase(rest.positional.begin());
  const std::string filter(Text(r, args.positional[0], "map: the name of a filter"));
  for (const Value& item : list.items()) {
    if (!r->ok()) break;
    items.push_back(ApplyFilter(r, filter, item, rest));
  }
  return r->NewIterator(std::move(items));
}

// select, reject, selectattr, rejectattr.
Value Select(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const bool by_attribute = name == "selectattr" || name == "rejectattr";
  const bool wanted = name == "select" || name == "selectattr";
  const size_t skipped = by_attribute ? 1 : 0;
  if (args.positional.size() < skipped) return r->Fail(absl::StrCat(name, " needs an attribute"));
  if (by_attribute && (!GoodPath(&args.positional[0]) || !IsPath(&args.positional[0]))) return FailPath(r, name);
  const bool has_test = args.positional.size() > skipped;
  Args rest = args;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() + static_cast<std::ptrdiff_t>(skipped + (has_test ? 1 : 0)));
  const std::string test(has_test ? Text(r, args.positional[skipped], "the name of a test") : "");
  const Value list = Iterate(r, value);
  std::vector<Value> items;
  for (const Value& item : list.items()) {
    if (!r->ok() || !r->Spend(1)) break;
    const Value tested = by_attribute ? Dig(r, item, args.positional[0]) : item;
    const bool holds = has_test ? ApplyTest(r, test, tested, rest) : Truth(tested);
    if (holds == wanted) items.push_back(item);
  }
  return r->NewIterator(std::move(items));
}

Value Batch(Rendering* r, const std::string& name, const Value& value, const Args& args) {
  const Bound bound(r, name, args, {"linecount", "fill_with"}, 1);
  const int64_t size = bound.Int(0, 1);
  if (!r->ok()) return Value();
  if (size < 1 || size > 1 << 16) return r->Fail("batch: the size must be in [1, 65536]");
  const Value list = Iterate(r, value);
  std::vector<Value> batches, batch;
  for (const Value& item : list.items()) {
    batch.push_back(item);
    if (static_cast<int64_t>(batch.size()) == size) batches.push_back(r->List(std::exchange(batch, {})));
  }
  if (!batch.empty()) {
    const bool fills = bound.at(1) != nullptr && !bound.at(1)->is_none();
    if (fills && r->Spend(size)) batch.resize(static_cast<size_t>(size), *bound.at(1));
    batches.push_back(r->List(std::move(batch)));
  }
  return r->NewIterator(std::move(batches));
}

constexpr std::pair<absl::string_view, Filter> kFilters[] = {
    {"attr", Attr},         {"batch", Batch},   {"dictsort", DictSort}, {"first", First},     {"items", Items},
    {"join", Join},         {"last", Last},     {"list", List},         {"map", Map},         {"max", MinMax},
    {"min", MinMax},        {"reject", Select}, {"rejectattr", Select}, {"reverse", Reverse}, {"select", Select},
    {"selectattr", Select}, {"sort", Sort},     {"sum", Sum},           {"unique", Unique},
};

}  // namespace

Filter FindSequenceFilter(absl::string_view name) {
  for (const auto& [known, filter] : kFilters) {
    if (known == name) return filter;
  }
  return nullptr;
}

}  // namespace quire::jinja
