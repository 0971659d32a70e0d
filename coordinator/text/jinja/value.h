// What templates compute with: JSON-like values that print, compare and count as Python's do.
//
// Immutable after construction but for objects, which one rendering owns; those without objects may be shared by threads.
//   V1  Every string is well-formed UTF-8.
//   V2  No list or dict nests deeper than kNestingMax, objects in between included, so that walks over
//       values, their end too, may recurse.
//   V3  No list or dict can hold itself: they are made from finished values. Only objects can be part of a cycle.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_VALUE_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_VALUE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace quire::jinja {

constexpr int kNestingMax = 128;

class Value;
using Entries = std::vector<std::pair<Value, Value>>;

enum class Kind { kUndefined, kNone, kBool, kInt, kFloat, kString, kList, kDict, kObject };

// What kind of Python sequence a list stands for.
enum class ListForm { kList, kTuple, kView, kRange };

// Namespaces, functions, iterators, the loop variable (objects.h).
struct Object {
  virtual ~Object() = default;
  virtual const char* type_name() const = 0;
  // As Value::nesting; what the rendering empties at its end counts as nothing.
  virtual int nesting() const { return 0; }
};

// Counts bytes that a rendering holds for as long as it lives.
class Meter final {
 public:
  Meter(int64_t* live, int64_t bytes) : live_(live), bytes_(bytes) {
    if (live_ != nullptr) *live_ += bytes_;
  }
  ~Meter() {
    if (live_ != nullptr) *live_ -= bytes_;
  }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

 private:
  int64_t* const live_;
  const int64_t bytes_;
};

struct StringBox {
  // `live` (may be null) must outlive the box.
  StringBox(std::string content, bool is_safe, int64_t* live);

  const std::string text;
  const size_t num_chars;
  const bool safe;  // marked by the `safe` or `escape` filter: what is added to it is escaped
  const Meter meter;
};

struct ListBox {
  ListBox(std::vector<Value> values, ListForm list_form, int64_t* live);

  const std::vector<Value> items;
  const ListForm form;
  const int nesting;
  const Meter meter;
};

struct DictBox {
  // A later entry of the same key replaces the value of the earlier one.
  DictBox(Entries all, int64_t* live);
  // Null when there is none.
  const Value* Find(const Value& key) const;
  const Value* Find(absl::string_view key) const;

  Entries entries;                                         // in the order of insertion
  absl::flat_hash_map<absl::string_view, size_t> by_text;  // positions of string keys, where entries are many
  int nesting = 0;
  const Meter meter;
};

class Value final {
 public:
  Value() = default;  // undefined, without a hint
  // `hint` says what is not defined.
  static Value Undefined(std::string hint);
  static Value None() { return Value(Rep(std::in_place_index<1>)); }
  static Value Bool(bool value) { return Value(Rep(std::in_place_index<2>, value)); }
  static Value Int(int64_t value) { return Value(Rep(std::in_place_index<3>, value)); }
  static Value Float(double value) { return Value(Rep(std::in_place_index<4>, value)); }
  static Value String(std::string text, bool safe = false, int64_t* live = nullptr);
  // Requires: nesting of the items below kNestingMax.
  static Value List(std::vector<Value> items, ListForm form = ListForm::kList, int64_t* live = nullptr);
  static Value Dict(Entries entries, int64_t* live = nullptr);
  static Value Of(std::shared_ptr<Object> object);

  Kind kind() const { return static_cast<Kind>(rep_.index()); }
  bool is_undefined() const { return kind() == Kind::kUndefined; }
  bool is_none() const { return kind() == Kind::kNone; }
  bool is_bool() const { return kind() == Kind::kBool; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_list() const { return kind() == Kind::kList; }
  bool is_dict() const { return kind() == Kind::kDict; }
  bool is_integer() const { return kind() == Kind::kInt || kind() == Kind::kBool; }
  bool is_number() const { return is_integer() || kind() == Kind::kFloat; }

  // Each requires its kind.
  bool boolean() const { return std::get<2>(rep_); }
  int64_t integer() const { return is_bool() ? (boolean() ? 1 : 0) : std::get<3>(rep_); }  // a bool counts as 0 or 1
  double number() const { return is_integer() ? static_cast<double>(integer()) : std::get<4>(rep_); }
  const std::string& text() const { return std::get<5>(rep_)->text; }
  const StringBox& string() const { return *std::get<5>(rep_); }
  const ListBox& list() const { return *std::get<6>(rep_); }
  const std::vector<Value>& items() const { return list().items; }
  const DictBox& dict() const { return *std::get<7>(rep_); }
  const std::shared_ptr<Object>& object() const { return std::get<8>(rep_); }

  std::string hint() const;
  // The object if it is one of type T, else null.
  template <typename T>
  T* As() const {
    return kind() == Kind::kObject ? dynamic_cast<T*>(object().get()) : nullptr;
  }
  int nesting() const;  // 0 for what holds nothing

 private:
  using Rep = std::variant<std::shared_ptr<const std::string>, std::monostate, bool, int64_t, double,
                           std::shared_ptr<const StringBox>, std::shared_ptr<const ListBox>,
                           std::shared_ptr<const DictBox>, std::shared_ptr<Object>>;
  explicit Value(Rep rep) : rep_(std::move(rep)) {}

  Rep rep_;
};

// The name of the value's type in Python.
const char* TypeName(const Value& value);

bool Truth(const Value& value);

// True for what may be the key of a dict.
bool IsHashable(const Value& value);

// ==; `steps` counts the values that were looked at and ends the walk (with false) when it falls below 0.
bool Equal(const Value& a, const Value& b, int64_t* steps);

// Below, at or above 0 as a is less than, equal to or greater than b. False where Python has no order.
bool Order(const Value& a, const Value& b, int64_t* steps, int* order);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_VALUE_H_
