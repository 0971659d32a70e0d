// The model families, one row each: what their files are called and what an absent config key means. Data; any thread.
//
// A new family is one row, plus a tiny checkpoint in tests/goldens.
// Source of the facts: transformers' modeling_*.py and configuration_*.py.
#ifndef QUIRE_WORKER_MODEL_FAMILIES_H_
#define QUIRE_WORKER_MODEL_FAMILIES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/hf_config.h"
#include "worker/model/model_spec.h"
#include "worker/model/roles.h"

namespace quire::worker {

enum class Need : uint8_t {
  kMust,
  kMaybe,       // in all layers or in none
  kUnlessTied,  // must where the head is its own matrix; ignored where it is the embedding
};

// How one tensor of a file holds its roles. Fused kinds of other families join here: binding turns each into rows of
// the stored tensor, and nothing after binding knows of them.
enum class Layout : uint8_t {
  kConcat,            // the roles' rows one below the other; one role: the tensor itself
  kConcatTransposed,  // the same with axes [in, out] ("Conv1D")
};

struct TensorRule {
  // "{P}" is the file's prefix, "{N}" the layer's index.
  const char* name;
  Need need;
  Part part;
  Layout layout;
  std::vector<Role> roles;
};

struct FamilyRow {
  std::vector<const char*> architectures;
  std::vector<const char*> model_types;  // used where a config names no architecture
  // Prefixes that {P} may stand for; the first with which the embedding is found is the file's.
  std::vector<const char*> prefixes;

  kernels::NormKind norm;
  double default_norm_eps;
  PositionKind position;
  const char* default_activation;
  bool gated;
  bool default_tied_head;
  int64_t default_ffn_multiple;  // of hidden_size, for an absent ffn size; 0: the config must name one

  std::vector<TensorRule> tensors;
  std::vector<const char*> ignored_suffixes;  // of tensors that are no parameters
};

// Errors: UNIMPLEMENTED naming the architecture, INVALID_ARGUMENT neither architectures nor model_type.
absl::StatusOr<const FamilyRow*> FindFamily(const HfConfig& config);

// Errors: INVALID_ARGUMENT a missing key or sizes that do not fit together, with both values; UNIMPLEMENTED a named
// kind.
absl::StatusOr<ModelSpec> MakeModelSpec(const FamilyRow& family, const HfConfig& config);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAMILIES_H_
