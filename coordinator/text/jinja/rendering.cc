#include "coordinator/text/jinja/rendering.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace quire::jinja {
namespace {

constexpr size_t kMessageBytesMax = 512;

// Whole characters. A template's own words for an error may hold a whole conversation.
absl::string_view Shorten(absl::string_view what) {
  if (what.size() <= kMessageBytesMax) return what;
  size_t size = kMessageBytesMax;
  while (size > 0 && (static_cast<unsigned char>(what[size]) & 0xC0) == 0x80) --size;
  return what.substr(0, size);
}

}  // namespace

Rendering::Rendering(const Limits& limits, const Clock& clock) : limits_(limits), clock_(clock), steps_(limits.steps) {}

Rendering::~Rendering() {
  // Cycles go through these two only (objects.h O1).
  for (Scope& scope : scopes_) scope.names.clear();
  for (const auto& space : namespaces_) space->attributes.clear();
}

Value Rendering::Fail(absl::string_view what) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", Shorten(what)));
  return Value();
}

Value Rendering::FailLimit(absl::string_view what) {
  if (status_.ok()) status_ = absl::ResourceExhaustedError(absl::StrCat("line ", line_, ": ", Shorten(what)));
  return Value();
}

bool Rendering::Spend(int64_t steps) {
  if (!status_.ok()) return false;
  steps_ -= steps;
  if (steps_ >= 0) return true;
  FailLimit(absl::StrCat("the template takes more than ", limits_.steps, " steps"));
  return false;
}

Rendering::Nest::Nest(Rendering* rendering) : rendering_(rendering) {
  if (++rendering_->depth_ <= rendering_->limits_.nesting) return;
  rendering_->FailLimit(
      absl::StrCat("macros and expressions are nested deeper than ", rendering_->limits_.nesting, " levels"));
}

Value Rendering::String(std::string text, bool safe) {
  if (static_cast<int64_t>(text.size()) > limits_.text_bytes) {
    return FailLimit(absl::StrCat("a string of ", text.size(), " bytes is over the limit of ", limits_.text_bytes));
  }
  if (!SpendText(text.size())) return Value();
  Value value = Value::String(std::move(text), safe, &live_);
  if (live_ > limits_.live_bytes) FailLimit(absl::StrCat("values take more than ", limits_.live_bytes, " bytes"));
  return value;
}

Value Rendering::List(std::vector<Value> items, ListForm form) {
  if (!Spend(1 + static_cast<int64_t>(items.size() / 8))) return Value();
  const auto deep = [](const Value& item) { return item.nesting() >= kNestingMax; };
  if (std::any_of(items.begin(), items.end(), deep)) {
    return FailLimit(absl::StrCat("lists are nested deeper than ", kNestingMax, " levels"));
  }
  Value value = Value::List(std::move(items), form, &live_);
  if (live_ > limits_.live_bytes) FailLimit(absl::StrCat("values take more than ", limits_.live_bytes, " bytes"));
  return value;
}

Value Rendering::Dict(Entries entries) {
  if (!Spend(1 + static_cast<int64_t>(entries.size()))) return Value();
  int64_t odd_keys = 0;
  for (const auto& [key, value] : entries) {
    if (key.is_string() && !SpendText(key.text().size())) return Value();
    if (!IsHashable(key)) return Fail(absl::StrCat("a ", TypeName(key), " cannot be the key of a dict"));
    if (value.nesting() >= kNestingMax) {
      return FailLimit(absl::StrCat("dicts are nested deeper than ", kNestingMax, " levels"));
    }
    if (!key.is_string()) ++odd_keys;
  }
  if (!Spend(odd_keys * static_cast<int64_t>(entries.size()))) return Value();  // they are searched one by one
  Value value = Value::Dict(std::move(entries), &live_);
  if (live_ > limits_.live_bytes) FailLimit(absl::StrCat("values take more than ", limits_.live_bytes, " bytes"));
  return value;
}

Value Rendering::NewIterator(std::vector<Value> items) {
  auto iterator = std::make_shared<Iterator>();
  iterator->list = List(std::move(items));
  return Value::Of(std::move(iterator));
}

Value Rendering::NewNamespace(Entries attributes) {
  if (!Spend(64 + 8 * static_cast<int64_t>(attributes.size()))) return Value();  // it lives to the end
  auto space = std::make_shared<Namespace>();
  space->attributes = std::move(attributes);
  namespaces_.push_back(space);
  return Value::Of(std::move(space));
}

Value Rendering::NewMethod(Value self, const std::string& name) {
  auto function = std::make_shared<Function>();
  function->name = name;
  function->self = std::move(self);
  return Value::Of(std::move(function));
}

Value Rendering::NewMacro(const Macro* macro, Scope* scope) {
  if (!Spend(64)) return Value();  // its scopes live to the end
  auto function = std::make_shared<Function>();
  function->macro = macro;
  function->scope = scope;
  for (; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
  return Value::Of(std::move(function));
}

void Rendering::Append(std::string* out, absl::string_view text) {
  if (!SpendText(text.size())) return;
  if (static_cast<int64_t>(out->size() + text.size()) > limits_.text_bytes) {
    FailLimit(absl::StrCat("the text is longer than ", limits_.text_bytes, " bytes"));
    return;
  }
  out->append(text.data(), text.size());
}

bool Rendering::Equal(const Value& a, const Value& b) {
  const bool equal = jinja::Equal(a, b, &steps_);
  Spend(0);
  return equal;
}

int Rendering::Order(const Value& a, const Value& b) {
  int order = 0;
  if (!jinja::Order(a, b, &steps_, &order)) {
    Fail(absl::StrCat("a ", TypeName(a), " and a ", TypeName(b), " have no order"));
  }
  Spend(0);
  return order;
}

Scope* Rendering::NewScope(Scope* parent) {
  Scope* scope = nullptr;
  if (free_scopes_.empty()) {
    scope = &scopes_.emplace_back();
  } else {
    scope = free_scopes_.back();
    free_scopes_.pop_back();
  }
  scope->parent = parent;
  return scope;
}

void Rendering::Release(Scope* scope) {
  if (scope->captured) return;
  scope->names.clear();
  free_scopes_.push_back(scope);
}

}  // namespace quire::jinja
