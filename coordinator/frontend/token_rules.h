// Which tokens a request may draw: bad_words and allowed_token_ids. A part of validation (validate.h); any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_TOKEN_RULES_H_
#define QUIRE_COORDINATOR_FRONTEND_TOKEN_RULES_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "coordinator/frontend/encode.h"
#include "coordinator/request/request.h"

namespace quire::v1 {
class SamplingParams;
}

namespace quire::frontend {

inline constexpr size_t kBadWordsMax = 64;
inline constexpr size_t kBadWordBytesMax = 256;

// Reads both fields. A bad word is banned as the tokens that it is at the start of a text and, if they differ, those that
// it is after a space. Errors: INVALID_ARGUMENT a limit is broken; FAILED_PRECONDITION bad words without a tokenizer.
absl::Status ReadTokenRules(const v1::SamplingParams& in, int32_t vocab_size, const Encode& encode,
                            request::SamplingParams* out);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_TOKEN_RULES_H_
