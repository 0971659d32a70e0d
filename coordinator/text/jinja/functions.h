// The functions that every chat template finds: range, namespace, dict, raise_exception, strftime_now.
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_FUNCTIONS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_FUNCTIONS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

bool IsGlobalFunction(absl::string_view name);

// Requires: IsGlobalFunction(name). raise_exception ends the rendering with the template's own words.
Value CallGlobalFunction(Rendering* r, const std::string& name, const Args& args);

// Names with an underscore in front cannot be set on a namespace.
bool IsNamespaceName(absl::string_view name);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_FUNCTIONS_H_
