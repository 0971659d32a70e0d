// A loaded shard of a model: what runtime/ needs of model/. One forward pass over a flat batch.
//
// Thread rule: the rank's compute thread.
// Invariants:
//   M1  Forward's logits rows are whole-vocabulary rows, equal bits on every rank.
//   M2  A row's bits depend only on its sequence's tokens, not on the batch, the chunking or the neighbours.
#ifndef QUIRE_WORKER_MODEL_MODEL_H_
#define QUIRE_WORKER_MODEL_MODEL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

// A batch as the decoder sees it. Arrays are owned by the caller.
struct ForwardBatch {
  absl::Span<const int32_t> token_ids;     // [num_tokens]
  absl::Span<const int32_t> positions;     // [num_tokens]
  absl::Span<const int64_t> slot_mapping;  // [num_tokens], block * block_size + offset
  kernels::AttendBatch attend;
  absl::Span<const int32_t> logit_rows;  // rows of the batch whose logits are wanted
};

// Facts that the rank reports when it has loaded.
struct ModelFacts {
  int32_t vocab_size = 0;
  int32_t max_model_len = 0;           // of the model's config, or what was asked for where that is less
  int32_t attention_window = 0;        // keys that any layer sees at most, the query's own included; 0 = all
  std::vector<int32_t> eos_token_ids;  // config.json and generation_config.json merged
  int32_t bos_token_id = -1;
  std::string model_type;
  std::vector<std::string> architectures;
  std::string dtype;                   // of the weights: float32 | float16 | bfloat16
  int64_t weight_bytes = 0;            // this rank, read by one decode step of one sequence
  double flops_per_token = 0;          // this rank, matrices only: 2 x parameters touched
  double zero_share = -1;              // this rank, of the matrices: what pruning left at zero; -1: they are quantised
  std::string generation_config_json;  // "" if absent
};

struct LoadOptions {
  std::string model_dir;
  std::string dtype = "auto";  // auto | float32 | float16 | bfloat16
  int rank = 0;
  int world_size = 1;
  bool expert_parallel = false;           // ranks hold whole experts, not a part of each
  int64_t max_model_len = 0;              // the longest context that will be served; 0 = the model's
  int64_t max_num_batched_tokens = 2048;  // sizes the activations
  int64_t max_num_logit_rows = 256;
  std::function<void(int64_t bytes_loaded, int64_t bytes_total)> progress;  // may be null
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelFacts& facts() const = 0;
  // Layout of this rank's cache; num_blocks is left 0 for the caller to fill.
  virtual kernels::KvCacheLayout CacheLayout(int64_t block_size) const = 0;
  // Computes one step and writes K and V of every token into the cache. Returns logits [num_rows, vocab_size] f32,
  // valid and editable until the next call. Errors: a collective that failed; the backend's.
  virtual absl::StatusOr<kernels::TensorView> Forward(const ForwardBatch& batch, const kernels::KvCacheView& cache) = 0;
  // Logits of further rows of the last Forward's batch, with the bits that they would have had as its logit_rows. The
  // view takes the place of the one before it. Requires: a Forward with tokens went before; 1 to max_num_logit_rows
  // rows. Errors: as Forward's.
  virtual absl::StatusOr<kernels::TensorView> RowLogits(absl::Span<const int32_t> rows) = 0;
  // Time spent in collectives by the last Forward and the RowLogits after it, in microseconds.
  virtual int64_t last_collective_us() const = 0;
};

// Reads this rank's slices of a Hugging Face directory and packs them. Errors name the file, the tensor or the key,
// and both values: INVALID_ARGUMENT lying or broken files; NOT_FOUND missing files; UNIMPLEMENTED unknown architecture
// or feature, named.
// Requires: backend and comm outlive the model.
absl::StatusOr<std::unique_ptr<Model>> LoadModel(const LoadOptions& options, kernels::Backend* backend,
                                                 Communicator* comm);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_MODEL_H_
