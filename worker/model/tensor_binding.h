// Which tensor of a checkpoint is which canonical tensor: a family's rules applied to a directory. Nothing is read but
// headers.
//
// Thread rule: the loading thread.
// Invariants:
//   T1  Every tensor that the spec needs is bound, with its exact shape.
//   T2  Every tensor of the checkpoint is bound, or on the family's ignore list: what is not understood is not served.
#ifndef QUIRE_WORKER_MODEL_TENSOR_BINDING_H_
#define QUIRE_WORKER_MODEL_TENSOR_BINDING_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/checkpoint.h"
#include "worker/model/families.h"
#include "worker/model/model_spec.h"
#include "worker/model/roles.h"

namespace quire::worker {

// Rows [begin, begin + rows) of a stored tensor, or columns of it where it is stored transposed.
struct BoundTensor {
  const CheckpointTensor* source = nullptr;  // null: the model has none
  bool transposed = false;
  int64_t begin = 0;
  int64_t rows = 0;
};

class TensorBinding final {
 public:
  // Errors: INVALID_ARGUMENT naming the file, the tensor and both shapes.
  static absl::StatusOr<TensorBinding> Bind(const FamilyRow& family, const ModelSpec& spec,
                                            const std::string& model_dir, const Checkpoint& checkpoint);

  // Requires: layer 0 for a role that occurs once per model.
  const BoundTensor& Get(Role role, Part part, int64_t layer = 0) const;

 private:
  explicit TensorBinding(int64_t num_layers) : bound_(num_layers * kNumRoles * 2) {}
  BoundTensor& At(Role role, Part part, int64_t layer);

  std::vector<BoundTensor> bound_;  // [num_layers, kNumRoles, 2]
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_TENSOR_BINDING_H_
