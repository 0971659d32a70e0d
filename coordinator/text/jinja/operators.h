// What operators, subscripts and loops do with values.
//
// One thread per rendering.
//   X1  Only what plain Python data offers can be reached: items, and the methods that methods.h lists. Whatever would
//       change a value is undefined, as in Jinja2's immutable sandbox.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_OPERATORS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_OPERATORS_H_

#include <string>

#include "absl/types/optional.h"
#include "coordinator/text/jinja/ast.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

// + - * / // % **
Value Binary(Rendering* r, Op op, const Value& a, const Value& b);
// == != < <= > >= in, not in
bool Compare(Rendering* r, Op op, const Value& a, const Value& b);
Value Minus(Rendering* r, const Value& value);
Value Plus(Rendering* r, const Value& value);

// object.name
Value GetAttribute(Rendering* r, const Value& object, const std::string& name);
// object[key]
Value GetItem(Rendering* r, const Value& object, const Value& key);
// object[begin:end:step]; none of them may be undefined.
Value GetSlice(Rendering* r, const Value& object, const Value& begin, const Value& end, const Value& step);

// list(value): a value of kind kList, empty after an error. An iterator is used up.
Value Iterate(Rendering* r, const Value& value);

// Fails with what is undefined, for uses that an undefined value does not allow.
Value FailUndefined(Rendering* r, const Value& value);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_OPERATORS_H_
