// From a config to a spec: which family it is of, and what its keys and its family's row (family_rows.h) say together.
// Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_FAMILIES_H_
#define QUIRE_WORKER_MODEL_FAMILIES_H_

#include "absl/status/statusor.h"
#include "worker/model/family_rows.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

// Errors: UNIMPLEMENTED naming the architecture, INVALID_ARGUMENT neither architectures nor model_type.
absl::StatusOr<const FamilyRow*> FindFamily(const HfConfig& config);

// max_model_len: the longest context that will be served, 0 = the config's. Errors: INVALID_ARGUMENT a missing key or sizes that do not fit together, with both values; UNIMPLEMENTED a named
// kind.
absl::StatusOr<ModelSpec> MakeModelSpec(const FamilyRow& family, const HfConfig& config, int64_t max_model_len = 0);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAMILIES_H_
