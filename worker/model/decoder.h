// The forward pass of every decoder-only model: one graph, steered by ModelSpec and by which weights are there.
//
// Thread rule: the rank's compute thread.
// Invariants:
//   D1  No model family is known here; a difference between families is a field of the spec or a view that is empty.
//   D2  All memory is taken at creation: a step allocates nothing but chunks of the rope table that were reserved then.
//   D3  With one rank no collective is called. With more, all ranks make the same calls: the batch alone gives their
//       number and sizes.
#ifndef QUIRE_WORKER_MODEL_DECODER_H_
#define QUIRE_WORKER_MODEL_DECODER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/comm/communicator.h"
#include "worker/model/experts_layer.h"
#include "worker/model/model.h"
#include "worker/model/model_spec.h"
#include "worker/model/rope_table.h"
#include "worker/model/shard.h"
#include "worker/model/weights.h"

namespace quire::worker {

struct DecoderOptions {
  int64_t max_num_batched_tokens = 0;
  int64_t max_num_logit_rows = 0;
};

class Decoder final : public Model {
 public:
  // Takes the activations' memory. Errors: the backend's.
  static absl::StatusOr<std::unique_ptr<Decoder>> Create(const DecoderOptions& options, const ModelSpec& spec,
                                                         const Shard& shard, Weights weights, ModelFacts facts,
                                                         kernels::Backend* backend, Communicator* comm);

  const ModelFacts& facts() const override { return facts_; }
  kernels::KvCacheLayout CacheLayout(int64_t block_size) const override;
  absl::StatusOr<kernels::TensorView> Forward(const ForwardBatch& batch, const kernels::KvCacheView& cache) override;
  absl::StatusOr<kernels::TensorView> RowLogits(absl::Span<const int32_t> rows) override;
  int64_t last_collective_us() const override { return collective_ns_ / 1000; }

 private:
  // f32 memory for up to `rows` rows of `cols` elements.
  struct Activations {
    std::unique_ptr<kernels::Buffer> buffer;
    int64_t rows = 0;
    int64_t cols = 0;

    kernels::TensorView View(int64_t num_rows) const;
  };

  Decoder(const ModelSpec& spec, const Shard& shard, Weights weights, ModelFacts facts, kernels::Backend* backend,
          Communicator* comm);
  absl::Status Allocate(const DecoderOptions& options);
  absl::Status Allocate(int64_t rows, int64_t cols, Activations* out);

  absl::Status MakeRopes();
  // Null where the layer's heads do not turn.
  const RopeTable* RopeOf(int64_t layer) const;
  kernels::AttentionParams AttentionOf(int64_t layer) const;
  absl::Status ReachPositions(const ForwardBatch& batch);
  void CheckBatch(const ForwardBatch& batch, const kernels::KvCacheView& cache) const;
  void EmbedTokens(const ForwardBatch& batch, const kernels::TensorView& hidden);
  absl::Status Attention(int64_t layer, const ForwardBatch& batch, const kernels::KvCacheView& cache,
                         const kernels::TensorView& hidden, const kernels::TensorView& attended);
  absl::Status FinishLayer(int64_t layer, const kernels::TensorView& hidden, const kernels::TensorView& attended);
  absl::Status MixExperts(int64_t layer, const kernels::TensorView& hidden);
  void ActivateFfn(const LayerWeights& weights, const kernels::TensorView& hidden,
                   const kernels::TensorView& activated);
  void AddToResidual(const kernels::TensorView& summand, const NormWeights& norm, const kernels::TensorView& hidden);
  void Norm(const NormWeights& norm, const kernels::TensorView& x, const kernels::TensorView& out);
  // The normed rows, in scratch_; x itself where there is no norm.
  kernels::TensorView Normed(const NormWeights& norm, const kernels::TensorView& x);
  // What a block reads of the residual stream: normed in scratch_, normed in place, or as it is.
  kernels::TensorView BlockInput(const NormWeights& norm, const kernels::TensorView& hidden);
  void NormHeads(const NormWeights& norm, const kernels::TensorView& qkv, int64_t first, int64_t count);
  absl::Status NormProjections(const LayerWeights& weights, const kernels::TensorView& qkv);
  absl::StatusOr<kernels::TensorView> Logits(const kernels::TensorView& hidden);
  void ShapeLogits(const kernels::TensorView& logits);
  // out = x * w^T over all ranks, + bias. x holds the rank's columns.
  absl::Status SummedProduct(const kernels::TensorView& x, const SummedLinear& w, const kernels::TensorView& out);
  absl::Status AllReduce(const kernels::TensorView& summand);

  const ModelSpec spec_;
  const Shard shard_;
  const Weights weights_;
  const ModelFacts facts_;
  kernels::Backend* const backend_;
  Communicator* const comm_;
  std::unique_ptr<RopeTable> rope_;         // null without rotary positions
  std::unique_ptr<RopeTable> query_rope_;   // of queries alone; null where they turn as keys do
  std::unique_ptr<RopeTable> window_rope_;  // of layers that turn by it; null where all turn alike
  std::vector<float> alibi_slopes_;         // of the rank's query heads; empty without ALiBi
  std::unique_ptr<ExpertsLayer> experts_;   // null without a mixture of experts

  Activations hidden_;       // the residual stream
  Activations embedded_;     // embeddings that are to be projected, and rows that were
  Activations scratch_;      // normed input of a block, then its output
  Activations products_[2];  // of parts of a summed matrix
  Activations squares_;      // of all queries and of all keys of a token; of parts of them
  Activations square_parts_;
  Activations qkv_;
  Activations attended_;
  Activations up_;  // gate | up
  Activations activated_;
  Activations row_hidden_;  // the wanted rows of the last layer
  Activations row_attended_;
  Activations gathered_;  // [world_size, rows, vocab_padded], more than one rank only
  Activations logits_;
  std::vector<int32_t> row_indices_;  // 0, 1, 2, ...
  std::vector<int32_t> zeros_;        // max_num_batched_tokens of them
  int64_t last_num_tokens_ = 0;       // of the last Forward
  int64_t collective_ns_ = 0;         // of the last Forward
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_DECODER_H_
