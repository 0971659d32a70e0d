// JSON to values and back.
//
// Pure but for the rendering's account; one thread per rendering.
//   J1  Members keep their order; of a key that comes twice the last value counts, as in Python.
#ifndef QUIRE_COORDINATOR_TEXT_JINJA_JSON_TEXT_H_
#define QUIRE_COORDINATOR_TEXT_JINJA_JSON_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/jinja/rendering.h"
#include "coordinator/text/jinja/value.h"

namespace quire::jinja {

constexpr int kJsonNestingMax = 64;

// Errors: kInvalidArgument for what is not JSON, not UTF-8, nested deeper than kJsonNestingMax, or holds an integer
// that 64 bits do not hold.
absl::StatusOr<Value> ParseJson(absl::string_view text);

// The arguments of Python's json.dumps.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  absl::optional<std::string> indent;  // of one level
  std::string item_separator = ", ";   // "," where there is an indent
  std::string key_separator = ": ";
};

void PrintJson(Rendering* r, const Value& value, const JsonStyle& style, std::string* out);

}  // namespace quire::jinja

#endif  // QUIRE_COORDINATOR_TEXT_JINJA_JSON_TEXT_H_
