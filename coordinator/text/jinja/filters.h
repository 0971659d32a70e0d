// The filters of Jinja2 that chat templates use, and the tojson of chat templates.
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_FILTERS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_FILTERS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

bool IsFilter(absl::string_view name);

// value|name(args). An unknown name is an error.
Value ApplyFilter(Rendering* r, const std::string& name, const Value& value, const Args& args);

// A filter's function; it knows its own name for its errors and where several share one.
using Filter = Value (*)(Rendering* r, const std::string& name, const Value& value, const Args& args);

// Null when it is not one of those that take sequences (filters_sequence.cc).
Filter FindSequenceFilter(absl::string_view name);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_FILTERS_H_
