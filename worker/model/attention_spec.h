// What a config and its family's row say about attention: windows, positions by ALiBi, soft caps. Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_ATTENTION_SPEC_H_
#define QUIRE_WORKER_MODEL_ATTENTION_SPEC_H_

#include "absl/status/status.h"
#include "worker/model/family_rows.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

PositionKind PositionOf(const FamilyRow& family, const HfConfig& config);

// Fills the fields of windows, of ropes that hang on them, of ALiBi, soft caps and limits. Requires: sizes and ropes are
// read. Errors: INVALID_ARGUMENT naming the key and the value.
absl::Status ReadAttention(const FamilyRow& family, const HfConfig& config, ModelSpec* spec);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_ATTENTION_SPEC_H_
