// The values of a template that are no data: namespaces, what can be called, iterators and the loop variable.
//
// One rendering owns them, on one thread.
//   O1  Whatever can change so that it may come to hold itself (Namespace, Scope) is kept and emptied by the Rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_OBJECTS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_OBJECTS_H_

#include <string>
#include <utility>
#include <vector>

#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

struct Macro;  // ast.h

// The names that a block, loop pass or macro call sets; what is not here is looked up in the parent.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string, Value>> names;
  bool captured = false;  // a macro was defined here or further inside and may be called later

  const Value* Find(const std::string& name) const {
    for (const auto& entry : names) {
      if (entry.first == name) return &entry.second;
    }
    return nullptr;
  }
  void Set(const std::string& name, Value value) {
    for (auto& entry : names) {
      if (entry.first != name) continue;
      entry.second = std::move(value);
      return;
    }
    names.emplace_back(name, std::move(value));
  }
};

struct Namespace final : Object {
  const char* type_name() const override { return "Namespace"; }

  Entries attributes;
};

struct Function final : Object {
  const char* type_name() const override { return macro != nullptr ? "Macro" : "function"; }
  int nesting() const override { return self.nesting() + 1; }

  std::string name;
  const Macro* macro = nullptr;  // else a method of `self` or, where that is undefined, a global function
  Scope* scope = nullptr;        // where the macro was defined
  Value self;
};

// Gives each item once.
struct Iterator final : Object {
  const char* type_name() const override { return "generator"; }
  int nesting() const override { return list.nesting() + 1; }

  Value list;
  size_t next = 0;
};

struct Loop final : Object {
  const char* type_name() const override { return "LoopContext"; }
  int nesting() const override { return list.nesting() + 1; }

  Value list;
  size_t index = 0;
  int depth = 1;
};

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_OBJECTS_H_
