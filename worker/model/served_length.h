// How long contexts may be, and what a longer one than the model was trained for changes: rope bases that grow, queries
// that count more, lists of factors.
//
// The code that models come with lets the length of a request, or of a batch, decide. Here the longest context that is
// served decides, once for all requests: keys in the cache keep their meaning (docs/decisions/0022 and 0024). Pure; any
// thread.
#ifndef QUIRE_WORKER_MODEL_SERVED_LENGTH_H_
#define QUIRE_WORKER_MODEL_SERVED_LENGTH_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/model/family_rows.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

// Sets spec->max_position and what hangs on it. max_model_len: the longest context that is asked for, 0: as far as the
// model was trained. Requires: sizes and ropes are read, windows are not. Errors: INVALID_ARGUMENT a rope whose base cannot
// grow, with both numbers.
absl::Status SetServedLength(const FamilyRow& family, const HfConfig& config, int64_t max_model_len, ModelSpec* spec);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_SERVED_LENGTH_H_
