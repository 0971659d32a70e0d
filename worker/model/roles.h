// The canonical tensors of one decoder layer and of the model around it: their shapes, and how a tensor-parallel group
// shares them.
//
// One table for all families: whatever a checkpoint calls a tensor and however it lays it out, after binding it is one
// of these. Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_ROLES_H_
#define QUIRE_WORKER_MODEL_ROLES_H_

#include <cstdint>

#include "worker/model/model_spec.h"

namespace quire::worker {

enum class Role : uint8_t {
  // Once per model.
  kEmbedding,
  kPositions,
  kFinalNorm,
  kHead,
  // Once per layer.
  kNorm1,
  kQuery,
  kKey,
  kValue,
  kOutput,
  kNorm2,
  kGate,
  kUp,
  kDown,
  // Norms that few models have.
  kQueryNorm,  // of each head, before the positions
  kKeyNorm,
  kAttentionOutNorm,  // of what attention adds
  kFfnOutNorm,        // of what the mlp adds
  kEmbeddingNorm,     // once per model: of what the embedding gives
  // Once per model, around it: between embeddings and a hidden size that differ.
  kProjectIn,
  kProjectOut,
  // A mixture of experts: of a layer,
  kRouter,
  kSharedGate,  // of the mlp that every token takes
  kSharedUp,
  kSharedDown,
  kSharedSwitch,  // one output: how much of it counts
  // and of each expert of a layer.
  kExpertGate,
  kExpertUp,
  kExpertDown,
};
inline constexpr int kNumRoles = 28;
inline constexpr Role kFirstExpertRole = Role::kExpertGate;  // from here on, as many tensors as experts

enum class Part : uint8_t { kWeight, kBias };

// What an axis of a canonical tensor counts.
enum class Axis : uint8_t {
  kOne,
  kHidden,
  kEmbed,
  kHeads,
  kKvHeads,
  kQueryNorm,
  kKeyNorm,
  kFfn,
  kVocab,
  kPositions,
  kExperts,
  kExpertFfn,
  kSharedFfn
};

// How the ranks share the weight. Where it is split by rows (the output), the bias is split with it; where it is split
// by columns (the input), each rank's product is a summand of the all-reduce and the bias enters the sum once.
enum class Split : uint8_t { kNone, kRows, kCols };

struct RoleInfo {
  const char* name;
  Axis rows;  // of the weight [out, in]; a vector (norms) has cols = kOne
  Axis cols;
  Split split;
};

const RoleInfo& InfoOf(Role role);

// Elements along an axis of the whole model: heads count as heads * head_dim.
int64_t AxisSize(Axis axis, const ModelSpec& spec);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_ROLES_H_
