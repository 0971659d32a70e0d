// The escapes of a Python string literal.
//
// Pure; any thread.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_STRING_LITERAL_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_STRING_LITERAL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::jinja {

// What stands between the quotes, with its escapes replaced; an unknown escape stays as it is. Errors:
// kInvalidArgument for an escape that is cut short, names a character by name, or is no character.
absl::StatusOr<std::string> Unescape(absl::string_view literal);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_STRING_LITERAL_H_
