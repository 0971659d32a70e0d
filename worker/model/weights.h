// One rank's weights, packed for its backend straight from the mapped files.
//
// Thread rule: the loading thread; afterwards read-only.
// Invariants:
//   W1  A rank reads only its own slices of the files.
//   W2  Pages of a tensor are given back as soon as it is packed: a load peaks at the weights plus one source.
#ifndef QUIRE_WORKER_MODEL_WEIGHTS_H_
#define QUIRE_WORKER_MODEL_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/loader/checkpoint.h"
#include "worker/model/model_spec.h"
#include "worker/model/shard.h"
#include "worker/model/tensor_binding.h"

namespace quire::worker {

struct Linear {
  std::unique_ptr<kernels::Weight> weight;
  kernels::TensorView bias;  // [rows] f32; empty if none
};

// A matrix whose input columns are split over the ranks: products of its parts are added up, over ranks too. The parts
// begin and end at quarters of the whole matrix's columns, and sums follow one tree over the quarters, ((0 + 1) + (2 +
// 3)): so one, two and four ranks give the same bits (docs/decisions/0018).
struct SummedLinear {
  static constexpr int64_t kParts = 4;

  struct Part {
    std::unique_ptr<kernels::Weight> weight;
    int64_t begin = 0;    // of the rank's input columns
    int64_t quarter = 0;  // that the part lies in
  };
  std::vector<Part> parts;   // 1 to kParts, by column
  kernels::TensorView bias;  // [rows] f32, on every rank; added to the sum. Empty if none
};

struct NormWeights {
  kernels::TensorView weight;  // [hidden] f32
  kernels::TensorView bias;    // empty if none
};

// What a layer with experts has in place of its mlp.
struct ExpertsWeights {
  Linear router;
  std::vector<Linear> up;          // of the rank's experts; rows: gate, up
  std::vector<SummedLinear> down;  // likewise; all in the same parts
  Linear shared_up;                // empty, as the next two, where no mlp is shared
  SummedLinear shared_down;
  Linear shared_switch;
};

struct LayerWeights {
  NormWeights norm1;
  Linear qkv;  // rows: query heads, key heads, value heads of the rank
  SummedLinear output;
  NormWeights norm2;  // empty where it shares norm1
  Linear up;          // rows: gate (of a gated model), up
  SummedLinear down;
  // Of a head that all share, or of each of the rank's heads; empty where the model has none, as the next two.
  NormWeights query_norm;
  NormWeights key_norm;
  NormWeights attention_out_norm;
  NormWeights ffn_out_norm;
  std::unique_ptr<ExpertsWeights> experts;  // null where the layer has an mlp
};

struct Weights {
  // Views of the mapping, [vocab, embed size] and [max_position, hidden], in the checkpoint's type: a step reads a few rows
  // of them. Copies where the device cannot read the host's memory.
  kernels::TensorView embedding;
  kernels::TensorView positions;  // empty without learned positions
  NormWeights embedding_norm;     // empty where the model has none
  Linear project_in;              // empty unless embeddings have another size than the hidden state, as project_out
  NormWeights final_norm;         // empty where the model has none
  Linear project_out;
  Linear head;  // the rank's rows of the vocabulary
  std::vector<LayerWeights> layers;

  kernels::DType stored = kernels::DType::kF32;
  // What a decode step of one sequence reads: of experts its share, as they are chosen alike on average.
  int64_t matrix_bytes = 0;
  int64_t matrix_elements = 0;
  int64_t source_elements = 0;  // that were read for the matrices
  int64_t source_zeros = 0;     // of those

  std::unique_ptr<kernels::Buffer> vectors;              // behind the norms and biases
  std::unique_ptr<Checkpoint> checkpoint;                // behind the views of the mapping
  std::vector<std::unique_ptr<kernels::Buffer>> tables;  // behind copies
};

struct WeightOptions {
  kernels::DType stored = kernels::DType::kF32;
  std::function<void(int64_t bytes_loaded, int64_t bytes_total)> progress;  // may be null; after every matrix
};

// The type that most of the checkpoint's bytes have: that of the first layer's query weight, or of the embedding where that
// is computed.
kernels::DType CheckpointDType(const TensorBinding& binding);

// Errors: the backend's.
absl::StatusOr<Weights> LoadWeights(const ModelSpec& spec, const Shard& shard, const TensorBinding& binding,
                                    std::unique_ptr<Checkpoint> checkpoint, const WeightOptions& options,
                                    kernels::Backend* backend);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_WEIGHTS_H_
