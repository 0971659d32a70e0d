// The tokenizer as validation wants it.
#ifndef QUIRE_COORDINATOR_FRONTEND_ENCODE_H_
#define QUIRE_COORDINATOR_FRONTEND_ENCODE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::frontend {

// Text to ids. Null: this server takes token ids only.
using Encode = std::function<absl::StatusOr<std::vector<int32_t>>(const std::string& text, bool add_special_tokens)>;

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_ENCODE_H_
