// A client's JSON, parsed with bounds and without an exception. Members keep their order: a template may print them.
//
// Pure; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_BOUNDED_JSON_H_
#define QUIRE_COORDINATOR_OPENAI_BOUNDED_JSON_H_

#include <cstddef>
#include <nlohmann/json_fwd.hpp>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::openai {

using Json = nlohmann::ordered_json;

inline constexpr size_t kJsonDepthMax = 64;
inline constexpr size_t kJsonValuesMax = size_t{2} << 20;  // each takes up to 16 times its text while a call is parsed

// Parses one JSON object. The caller bounds the size of the text. Errors: INVALID_ARGUMENT: no JSON, not UTF-8, not an
// object, too deep, too many values, a key that comes twice in one object, an integer that 64 bits do not hold.
absl::Status ParseBoundedJson(absl::string_view text, Json* out);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_BOUNDED_JSON_H_
