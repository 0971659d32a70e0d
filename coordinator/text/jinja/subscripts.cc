// Attributes, items, slices and iteration (operators.h).
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/jinja/characters.h"
#include "coordinator/text/jinja/methods.h"
#include "coordinator/text/jinja/objects.h"
#include "coordinator/text/jinja/operators.h"

namespace quire::jinja {
namespace {

constexpr size_t kHintBytesMax = 256;  // a longer name is not quoted
constexpr size_t kCharsMax = 1 << 20;  // of a string that is taken apart into characters

Value Missing(const Value& object, absl::string_view name) {
  if (name.size() > kHintBytesMax) return Value::Undefined(absl::StrCat("an item of a ", TypeName(object)));
  return Value::Undefined(absl::StrCat("'", name, "' of a ", TypeName(object)));
}

Value LoopAttribute(Rendering* r, const Value& object, const Loop& loop, const std::string& name) {
  const std::vector<Value>& items = loop.list.items();
  const auto number = [](size_t value) { return Value::Int(static_cast<int64_t>(value)); };
  if (name == "index") return number(loop.index + 1);
  if (name == "index0") return number(loop.index);
  if (name == "first") return Value::Bool(loop.index == 0);
  if (name == "last") return Value::Bool(loop.index + 1 == items.size());
  if (name == "length") return number(items.size());
  if (name == "revindex") return number(items.size() - loop.index);
  if (name == "revindex0") return number(items.size() - loop.index - 1);
  if (name == "depth") return Value::Int(loop.depth);
  if (name == "depth0") return Value::Int(loop.depth - 1);
  if (name == "previtem") return loop.index == 0 ? Missing(object, name) : items[loop.index - 1];
  if (name == "nextitem") return loop.index + 1 < items.size() ? items[loop.index + 1] : Missing(object, name);
  if (name == "cycle" || name == "changed") return r->NewMethod(object, name);
  return Missing(object, name);
}

const Value* FindAttribute(const Namespace& space, const std::string& name) {
  for (const auto& [key, value] : space.attributes) {
    if (key.text() == name) return &value;
  }
  return nullptr;
}

// What Python's getattr() finds; undefined when it finds nothing.
Value OwnAttribute(Rendering* r, const Value& object, const std::string& name) {
  if (const auto* loop = object.As<Loop>()) return LoopAttribute(r, object, *loop, name);
  if (const auto* space = object.As<Namespace>()) {
    const Value* value = FindAttribute(*space, name);
    return value == nullptr ? Missing(object, name) : *value;
  }
  switch (FindMethod(object, name)) {
    case MethodAccess::kAllowed:
      return r->NewMethod(object, name);
    case MethodAccess::kForbidden:
      return Value::Undefined(absl::StrCat("'", name, "' of a ", TypeName(object), ", which would change it,"));
    case MethodAccess::kNone:
      break;
  }
  return Missing(object, name);
}

Value CharAt(Rendering* r, const StringBox& box, int64_t index) {
  const absl::string_view text = box.text;
  const bool one_byte_each = box.num_chars == text.size();
  if (!one_byte_each && !r->SpendText(text.size())) return Value();
  const auto at = static_cast<size_t>(index);
  const size_t begin = one_byte_each ? at : ByteOffset(text, at);
  const size_t length = one_byte_each ? 1 : ByteOffset(text.substr(begin), 1);
  return r->String(std::string(text.substr(begin, length)), box.safe);
}

// The bounds of a Python slice over `size` items: `count` items from `first` on, `step` apart.
struct SliceBounds {
  int64_t first = 0;
  int64_t step = 1;
  int64_t count = 0;
};

SliceBounds ResolveSlice(int64_t size, const Value& begin, const Value& end, int64_t step) {
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? size - 1 : size;
  const auto clamp = [&](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    int64_t at = value.integer();
    if (at < 0) at = at < -size ? low - size : at;  // keeps the addition below from overflowing
    if (at < 0) at += size;
    return std::min(std::max(at, low), high);
  };
  SliceBounds bounds;
  bounds.step = step;
  bounds.first = clamp(begin, step < 0 ? high : low);
  const int64_t stop = clamp(end, step < 0 ? low : high);
  const int64_t distance = step < 0 ? bounds.first - stop : stop - bounds.first;
  // -step of the smallest integer does not exist.
  const uint64_t stride = step < 0 ? 0 - static_cast<uint64_t>(step) : static_cast<uint64_t>(step);
  if (distance > 0) bounds.count = static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride + 1);
  return bounds;
}

Value SliceString(Rendering* r, const StringBox& box, const SliceBounds& bounds) {
  const absl::string_view text = box.text;
  if (!r->SpendText(text.size())) return Value();
  if (bounds.count == 0) return r->String("", box.safe);
  if (bounds.step == 1) {
    const bool one_byte_each = box.num_chars == text.size();
    const auto first = static_cast<size_t>(bounds.first), count = static_cast<size_t>(bounds.count);
    const size_t begin = one_byte_each ? first : ByteOffset(text, first);
    const size_t length = one_byte_each ? count : ByteOffset(text.substr(begin), count);
    return r->String(std::string(text.substr(begin, length)), box.safe);
  }
  if (box.num_chars > kCharsMax) return r->FailLimit(absl::StrCat("more than ", kCharsMax, " characters"));
  if (!r->Spend(static_cast<int64_t>(box.num_chars / 16))) return Value();
  const std::vector<absl::string_view> chars = Characters(text);
  std::string out;
  for (int64_t i = 0; i < bounds.count; ++i) {
    absl::StrAppend(&out, chars[static_cast<size_t>(bounds.first + i * bounds.step)]);
  }
  return r->String(std::move(out), box.safe);
}

}  // namespace

Value GetAttribute(Rendering* r, const Value& object, const std::string& name) {
  if (!r->ok()) return Value();
  if (object.is_undefined()) return FailUndefined(r, object);
  Value own = OwnAttribute(r, object, name);
  if (!object.is_dict() || !own.is_undefined() || FindMethod(object, name) != MethodAccess::kNone) return own;
  const Value* item = object.dict().Find(name);
  return item == nullptr ? own : *item;
}

Value GetItem(Rendering* r, const Value& object, const Value& key) {
  if (!r->ok()) return Value();
  if (object.is_undefined()) return FailUndefined(r, object);
  if (key.is_string() && !r->SpendText(key.text().size())) return Value();
  if (object.is_dict() && IsHashable(key)) {
    if (!key.is_string()) r->Spend(static_cast<int64_t>(object.dict().entries.size()));
    if (const Value* item = object.dict().Find(key)) return *item;
  }
  const bool indexed = object.is_string() || (object.is_list() && object.list().form != ListForm::kView);
  if (indexed && key.is_integer()) {
    const auto size = static_cast<int64_t>(object.is_string() ? object.string().num_chars : object.items().size());
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index < 0 || index >= size) return Value::Undefined(absl::StrCat("item ", key.integer(), " of ", size));
    return object.is_string() ? CharAt(r, object.string(), index) : object.items()[static_cast<size_t>(index)];
  }
  if (key.is_string()) return OwnAttribute(r, object, key.text());
  return Value::Undefined(absl::StrCat("an item of a ", TypeName(object), " at a ", TypeName(key)));
}

Value GetSlice(Rendering* r, const Value& object, const Value& begin, const Value& end, const Value& step) {
  if (!r->ok()) return Value();
  if (object.is_undefined()) return FailUndefined(r, object);
  const bool sliceable = object.is_string() || (object.is_list() && object.list().form != ListForm::kView);
  if (!sliceable) return r->Fail(absl::StrCat("a ", TypeName(object), " cannot be sliced"));
  for (const Value* bound : {&begin, &end, &step}) {
    if (!bound->is_none() && !bound->is_integer()) {
      return r->Fail(absl::StrCat("a slice needs integers, not a ", TypeName(*bound)));
    }
  }
  const int64_t stride = step.is_none() ? 1 : step.integer();
  if (stride == 0) return r->Fail("the step of a slice must not be 0");
  const auto size = static_cast<int64_t>(object.is_string() ? object.string().num_chars : object.items().size());
  const SliceBounds bounds = ResolveSlice(size, begin, end, stride);
  if (object.is_string()) return SliceString(r, object.string(), bounds);
  if (!r->Spend(bounds.count / 8)) return Value();
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(bounds.count));
  for (int64_t i = 0; i < bounds.count; ++i) {
    items.push_back(object.items()[static_cast<size_t>(bounds.first + i * bounds.step)]);
  }
  return r->List(std::move(items), object.list().form);
}

Value Iterate(Rendering* r, const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::kList:
      return value;
    case Kind::kUndefined:
      break;
    case Kind::kString:
      if (value.string().num_chars > kCharsMax) r->FailLimit(absl::StrCat("more than ", kCharsMax, " characters"));
      if (!r->Spend(static_cast<int64_t>(value.string().num_chars))) break;
      for (const absl::string_view c : Characters(value.text())) items.push_back(r->String(std::string(c)));
      break;
    case Kind::kDict:
      for (const auto& entry : value.dict().entries) items.push_back(entry.first);
      break;
    default:
      if (auto* iterator = value.As<Iterator>(); iterator != nullptr && iterator->list.is_list()) {
        const std::vector<Value>& all = iterator->list.items();
        items.assign(all.begin() + static_cast<std::ptrdiff_t>(iterator->next), all.end());
        iterator->next = all.size();
        break;
      }
      r->Fail(absl::StrCat("a ", TypeName(value), " cannot be iterated over"));
  }
  if (r->ok()) {
    Value list = r->List(std::move(items));
    if (list.is_list()) return list;
  }
  return Value::List({});
}

}  // namespace quire::jinja
