// JSON of a model directory, parsed with bounds: depth, duplicate keys, and no exception. Pure; any thread.
#ifndef QUIRE_WORKER_LOADER_BOUNDED_JSON_H_
#define QUIRE_WORKER_LOADER_BOUNDED_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

// Parses one JSON object into *out. `file` names it in messages. The caller bounds the size of the text.
// Errors: INVALID_ARGUMENT no JSON, not an object, nested deeper than 16, a key that occurs twice.
absl::Status ParseBoundedJson(absl::string_view file, absl::string_view text, nlohmann::json* out);

// Text that came from a file, made fit for a message: escaped, and cut after 256 bytes.
std::string Printable(absl::string_view text);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_BOUNDED_JSON_H_
