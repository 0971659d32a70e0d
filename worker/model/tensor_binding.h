// Which tensor of a checkpoint is which canonical tensor: a family's rules applied to a directory. Nothing is read but
// headers.
//
// Thread rule: the loading thread.
// Invariants:
//   T1  Every tensor that the spec needs is bound, with its exact shape.
//   T2  Every tensor of the checkpoint is bound, or on the family's ignore list: what is not understood is not served.
#ifndef QUIRE_WORKER_MODEL_TENSOR_BINDING_H_
#define QUIRE_WORKER_MODEL_TENSOR_BINDING_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/loader/checkpoint.h"
#include "worker/model/families.h"
#include "worker/model/model_spec.h"
#include "worker/model/roles.h"

namespace quire::worker {

// The rows of a stored tensor that are one role's, or columns of it where it is stored transposed: runs of run_rows
// rows, one every run_stride rows from begin on.
struct BoundTensor {
  const CheckpointTensor* source = nullptr;  // null: the model has none
  bool is_ones = false;                      // a norm that has no weights of its own; without a source
  bool transposed = false;
  int64_t begin = 0;
  int64_t rows = 0;
  int64_t run_rows = 0;
  int64_t run_stride = 0;
  // Heads whose first paired_dims rows turn in neighbouring pairs (2i, 2i + 1): read as (i, i + paired_dims / 2), which
  // changes no score as long as queries and keys agree. 0: they are stored in that order.
  int64_t paired_dims = 0;
  int64_t head_dim = 0;
  int64_t slice = -1;  // of the tensor's first axis, where it holds all experts of a layer; -1: it holds no experts
  std::vector<const CheckpointTensor*> heads;  // where each head's part is a tensor of its own; source is the first
};

// Stored rows begin, begin + step, ...
struct RowSpan {
  int64_t begin = 0;
  int64_t count = 0;
  int64_t step = 1;
};

// Where rows [begin, begin + count) of the role are stored, in their order.
std::vector<RowSpan> SpansOf(const BoundTensor& bound, int64_t begin, int64_t count);

class TensorBinding final {
 public:
  // Errors: INVALID_ARGUMENT naming the file, the tensor and both shapes.
  static absl::StatusOr<TensorBinding> Bind(const FamilyRow& family, const ModelSpec& spec,
                                            const std::string& model_dir, const Checkpoint& checkpoint);

  // All that Bind could complain of, in its order: the first is what it says. Empty: it binds.
  static std::vector<absl::Status> FindProblems(const FamilyRow& family, const ModelSpec& spec,
                                                const std::string& model_dir, const Checkpoint& checkpoint);

  // Requires: layer 0 for a role that occurs once per model, expert 0 for one that is no expert's.
  const BoundTensor& Get(Role role, Part part, int64_t layer = 0, int64_t expert = 0) const;

 private:
  static constexpr int kFirstExpert = static_cast<int>(kFirstExpertRole);

  explicit TensorBinding(const ModelSpec& spec)
      : num_experts_(spec.experts.count), bound_(IndexOf(Role::kEmbedding, Part::kWeight, spec.num_layers, 0)) {}
  void BindAll(const FamilyRow& family, const ModelSpec& spec, const std::string& model_dir,
               const Checkpoint& checkpoint, std::vector<absl::Status>* problems);
  void BindRule(const TensorRule& rule, const ModelSpec& spec, const std::string& prefix, const std::string& model_dir,
                const Checkpoint& checkpoint, std::set<std::string>* understood, std::vector<absl::Status>* problems);
  void BindRoles(const TensorRule& rule, const ModelSpec& spec, const CheckpointTensor& tensor, int64_t layer,
                 int64_t expert);
  BoundTensor& At(Role role, Part part, int64_t layer, int64_t expert);
  int64_t IndexOf(Role role, Part part, int64_t layer, int64_t expert) const;

  int64_t num_experts_;
  std::vector<BoundTensor> bound_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_TENSOR_BINDING_H_
