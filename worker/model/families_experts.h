// The part of a spec that a mixture of experts has, from config and family row. Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_FAMILIES_EXPERTS_H_
#define QUIRE_WORKER_MODEL_FAMILIES_EXPERTS_H_

#include "absl/status/status.h"
#include "worker/model/family_rows.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

// Fills spec->experts where the family has experts. Requires: the sizes of the spec are there.
// Errors: INVALID_ARGUMENT a key that is missing or out of its range, by name and value.
absl::Status ReadExperts(const FamilyRow& family, const HfConfig& config, ModelSpec* spec);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAMILIES_EXPERTS_H_
