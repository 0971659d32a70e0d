// The methods of strings, lists and dicts that a template may call.
//
// One thread per rendering.
//   X2  Only what is in the tables of methods.cc can be called. What changes a value is known and forbidden; what Python
//       has beyond that is known and fails by name when it is called.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_METHODS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_METHODS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

enum class MethodAccess { kNone, kAllowed, kForbidden };

MethodAccess FindMethod(const Value& object, absl::string_view name);

// Requires: FindMethod says kAllowed, or `self` is a Loop.
Value CallMethod(Rendering* r, const Value& self, const std::string& name, const Args& args);

// str.method(...); its part of CallMethod.
Value CallStringMethod(Rendering* r, const Value& self, const std::string& name, const Args& args);
bool IsStringMethod(absl::string_view name);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_METHODS_H_
