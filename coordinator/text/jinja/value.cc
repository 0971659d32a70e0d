#include "coordinator/text/jinja/value.h"

#include <algorithm>

namespace quire::jinja {
namespace {

constexpr size_t kIndexedFrom = 9;  // fewer entries are searched one by one

size_t CountChars(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

int NestingOf(const std::vector<Value>& items) {
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.nesting());
  return deepest + 1;
}

int64_t NoLimit() { return int64_t{1} << 62; }

bool EqualItems(const std::vector<Value>& a, const std::vector<Value>& b, int64_t* steps) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!Equal(a[i], b[i], steps)) return false;
  }
  return true;
}

bool EqualDicts(const DictBox& a, const DictBox& b, int64_t* steps) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.Find(key);
    if (other == nullptr || !Equal(value, *other, steps)) return false;
  }
  return true;
}

// Exact for every integer: a long double of this machine has 64 bits of mantissa.
long double Exact(const Value& value) {
  return value.is_integer() ? static_cast<long double>(value.integer()) : static_cast<long double>(value.number());
}

}  // namespace

StringBox::StringBox(std::string content, bool is_safe, int64_t* live)
    : text(std::move(content)),
      num_chars(CountChars(text)),
      safe(is_safe),
      meter(live, static_cast<int64_t>(text.size() + sizeof(StringBox))) {}

ListBox::ListBox(std::vector<Value> values, ListForm list_form, int64_t* live)
    : items(std::move(values)),
      form(list_form),
      nesting(NestingOf(items)),
      meter(live, static_cast<int64_t>(items.size() * sizeof(Value) + sizeof(ListBox))) {}

DictBox::DictBox(Entries all, int64_t* live)
    : meter(live, static_cast<int64_t>(all.size() * 4 * sizeof(Value) + sizeof(DictBox))) {
  const bool indexed = all.size() >= kIndexedFrom;
  entries.reserve(all.size());  // the index points into the keys, which must not move
  for (auto& [key, value] : all) {
    Value* old = const_cast<Value*>(Find(key));
    nesting = std::max(nesting, value.nesting() + 1);
    if (old != nullptr) {
      *old = std::move(value);
      continue;
    }
    entries.emplace_back(std::move(key), std::move(value));
    const Value& stored = entries.back().first;
    if (indexed && stored.is_string()) by_text.emplace(stored.text(), entries.size() - 1);
  }
  nesting = std::max(nesting, 1);
}

const Value* DictBox::Find(absl::string_view key) const {
  if (!by_text.empty()) {
    const auto it = by_text.find(key);
    return it == by_text.end() ? nullptr : &entries[it->second].second;
  }
  for (const auto& [name, value] : entries) {
    if (name.is_string() && name.text() == key) return &value;
  }
  return nullptr;
}

const Value* DictBox::Find(const Value& key) const {
  if (key.is_string()) return Find(absl::string_view(key.text()));
  int64_t steps = NoLimit();
  for (const auto& [name, value] : entries) {
    if (!name.is_string() && Equal(name, key, &steps)) return &value;
  }
  return nullptr;
}

Value Value::Undefined(std::string hint) {
  return Value(Rep(std::in_place_index<0>, std::make_shared<const std::string>(std::move(hint))));
}

Value Value::String(std::string text, bool safe, int64_t* live) {
  return Value(Rep(std::make_shared<const StringBox>(std::move(text), safe, live)));
}

Value Value::List(std::vector<Value> items, ListForm form, int64_t* live) {
  return Value(Rep(std::make_shared<const ListBox>(std::move(items), form, live)));
}

Value Value::Dict(Entries entries, int64_t* live) {
  return Value(Rep(std::make_shared<const DictBox>(std::move(entries), live)));
}

Value Value::Of(std::shared_ptr<Object> object) { return Value(Rep(std::move(object))); }

std::string Value::hint() const {
  const auto* hint = std::get_if<0>(&rep_);
  return hint == nullptr || *hint == nullptr ? "an undefined value" : **hint;
}

int Value::nesting() const {
  if (is_list()) return list().nesting;
  if (is_dict()) return dict().nesting;
  return kind() == Kind::kObject ? object()->nesting() : 0;
}

const char* TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      switch (value.list().form) {
        case ListForm::kList:
          return "list";
        case ListForm::kTuple:
          return "tuple";
        case ListForm::kView:
          return "dict view";
        case ListForm::kRange:
          return "range";
      }
      return "list";
    case Kind::kDict:
      return "dict";
    case Kind::kObject:
      return value.object()->type_name();
  }
  return "value";
}

bool Truth(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kString:
      return !value.text().empty();
    case Kind::kList:
      return !value.items().empty();
    case Kind::kDict:
      return !value.dict().entries.empty();
    case Kind::kObject:
      return true;
  }
  return false;
}

bool IsHashable(const Value& value) {
  if (value.is_dict()) return false;
  if (!value.is_list()) return true;
  if (value.list().form != ListForm::kTuple) return value.list().form == ListForm::kRange;
  // Of plain values only: a walk into tuples of tuples could take for ever.
  const auto holds_nothing = [](const Value& item) { return item.nesting() == 0; };
  return std::all_of(value.items().begin(), value.items().end(), holds_nothing);
}

bool Equal(const Value& a, const Value& b, int64_t* steps) {
  if (--*steps < 0) return false;
  if (a.is_number() && b.is_number()) return Exact(a) == Exact(b);
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kString:
      *steps -= static_cast<int64_t>(std::min(a.text().size(), b.text().size()) / 256);
      return a.text() == b.text();
    case Kind::kList:
      if (&a.list() == &b.list()) return true;
      return a.list().form == b.list().form && EqualItems(a.items(), b.items(), steps);
    case Kind::kDict:
      return &a.dict() == &b.dict() || EqualDicts(a.dict(), b.dict(), steps);
    case Kind::kObject:
      return a.object() == b.object();
    default:
      return true;  // undefined or none
  }
}

bool Order(const Value& a, const Value& b, int64_t* steps, int* order) {
  --*steps;
  if (a.is_number() && b.is_number()) {
    const long double x = Exact(a), y = Exact(b);
    *order = x < y ? -1 : x > y ? 1 : 0;
    return true;
  }
  if (a.is_string() && b.is_string()) {
    *steps -= static_cast<int64_t>(std::min(a.text().size(), b.text().size()) / 256);
    *order = a.text().compare(b.text());  // the order of UTF-8's bytes is that of the characters
    return true;
  }
  if (!a.is_list() || !b.is_list() || a.list().form != b.list().form) return false;
  if (a.list().form != ListForm::kList && a.list().form != ListForm::kTuple) return false;
  const size_t common = std::min(a.items().size(), b.items().size());
  for (size_t i = 0; i < common && *steps >= 0; ++i) {
    if (Equal(a.items()[i], b.items()[i], steps)) continue;
    return Order(a.items()[i], b.items()[i], steps, order);
  }
  *order = a.items().size() < b.items().size() ? -1 : a.items().size() > b.items().size() ? 1 : 0;
  return true;
}

}  // namespace quire::jinja
