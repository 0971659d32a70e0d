// The tests of Jinja2: what may stand behind `is`, and by name in select and its kin.
//
// One thread per rendering.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_TESTS_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_TESTS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "coordinator/text/jinja/arguments.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

bool IsTest(absl::string_view name);

// value is name(args); false after an error. An unknown name is one.
bool ApplyTest(Rendering* r, const std::string& name, const Value& value, const Args& args);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_TESTS_H_
