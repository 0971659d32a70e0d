// "longrope": two lists of factors, one for contexts up to the length of the first training, one for longer ones.
//
// The library takes the second list for a request as soon as its context is long, and with it other keys for all that
// came before. Here the longest context that is served decides, once for all requests: keys in the cache keep their
// meaning (docs/decisions/0022). Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_LONG_ROPE_H_
#define QUIRE_WORKER_MODEL_LONG_ROPE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

// Requires: rope->dims. Errors: INVALID_ARGUMENT a list that is missing or too short, with both numbers.
absl::Status ReadLongRope(const HfConfig& config, const HfRope& from, int64_t max_position, RopeSpec* rope);

// Takes one of the lists. Does nothing to other ropes.
void ChooseLongRope(int64_t longest_served, RopeSpec* rope);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_LONG_ROPE_H_
