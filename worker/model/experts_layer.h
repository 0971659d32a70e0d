// The mixture of experts that some layers have in place of their mlp: routing, products, and sums that all ranks agree
// on to the bit.
//
// Thread rule: the rank's compute thread.
// Invariants:
//   L1  The sum over experts and columns has one order on one, two and four ranks, whether the ranks share out the
//       columns of every expert or the experts (docs/decisions/0020): for each quarter of columns the experts' sum as
//       E2 of kernels/expert_ops.h has it, to which the shared mlp's product of that quarter of columns comes in the
//       quarter of experts of the same number; then the quarters as ((0 + 1) + (2 + 3)).
//   L2  All memory is taken at creation.
#ifndef QUIRE_WORKER_MODEL_EXPERTS_LAYER_H_
#define QUIRE_WORKER_MODEL_EXPERTS_LAYER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard.h"
#include "worker/model/weights.h"

namespace quire::worker {

class ExpertsLayer final {
 public:
  // For steps of up to max_rows rows. Requires: the weights outlive it. Errors: the backend's.
  static absl::StatusOr<std::unique_ptr<ExpertsLayer>> Create(const ModelSpec& spec, const Shard& shard,
                                                              const Weights& weights, int64_t max_rows,
                                                              kernels::Backend* backend);

  // The rank's share of a layer's output for these rows, to be added up over the ranks: [num_rows, hidden], or a block
  // of num_rows for each quarter of columns where the ranks share out the experts. Valid until the next call.
  kernels::TensorView Share(int64_t layer, const kernels::TensorView& normed);

  // The whole output, [num_rows, hidden], from shares that are added up; in their memory.
  kernels::TensorView Finish(const kernels::TensorView& shares);

 private:
  // A layer's weights as the products take them.
  struct Grouped {
    const ExpertsWeights* weights = nullptr;  // null: the layer has none
    std::vector<const kernels::Weight*> up;
    std::vector<std::vector<const kernels::Weight*>> down;  // by part
  };
  struct Memory {
    std::unique_ptr<kernels::Buffer> buffer;
    kernels::TensorView View(int64_t rows, int64_t cols, kernels::DType dtype = kernels::DType::kF32) const;
  };

  ExpertsLayer(const ModelSpec& spec, const Shard& shard, kernels::Backend* backend)
      : spec_(spec), shard_(shard), backend_(backend) {}
  absl::Status Allocate(int64_t max_rows);
  kernels::ExpertRouting Routing(int64_t num_rows) const;
  void Up(const Grouped& layer, const kernels::TensorView& normed, const kernels::ExpertRouting& routing);
  void SharedUp(const ExpertsWeights& weights, const kernels::TensorView& normed);
  void Quarter(const Grouped& layer, size_t part, const kernels::ExpertRouting& routing,
               const kernels::TensorView& out);
  kernels::TensorView SharedProduct(const SummedLinear::Part& part, int64_t num_rows);

  const ModelSpec spec_;
  const Shard shard_;
  kernels::Backend* const backend_;
  std::vector<Grouped> layers_;  // [num_layers]

  Memory logits_;  // of the router
  Memory ids_, chosen_weights_, rows_, row_token_, row_start_;
  Memory up_;         // [rows of experts, gate | up]
  Memory activated_;  // [rows of experts, ffn]
  Memory products_;   // [rows of experts, hidden], of one quarter of columns
  Memory shared_up_, shared_activated_, shared_product_, switch_;
  Memory quarters_;  // [4 * max_rows, hidden]
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_EXPERTS_LAYER_H_
