// Values as text: Python's str() and repr().
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_PRINT_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_PRINT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

// str(value). What has no text of its own (functions, iterators, views, namespaces) is an error: Python would print an
// address there.
void Print(Rendering* r, const Value& value, std::string* out);
std::string ToText(Rendering* r, const Value& value);
// repr(value).
void PrintRepr(Rendering* r, const Value& value, std::string* out);

// repr(float): the shortest digits that read back as the same number.
std::string FloatText(double number);

// The text of a string; an error naming `what` for anything else.
absl::string_view Text(Rendering* r, const Value& value, absl::string_view what);

// As HTML: & < > ' " become entities.
std::string EscapeHtml(absl::string_view text);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_PRINT_H_
