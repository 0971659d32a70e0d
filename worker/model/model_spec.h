// What a decoder-only model is, as plain data: the only thing the forward pass branches on. Leaf; any thread.
#ifndef QUIRE_WORKER_MODEL_MODEL_SPEC_H_
#define QUIRE_WORKER_MODEL_MODEL_SPEC_H_

#include <cstdint>

#include "kernels/backend.h"

namespace quire::worker {

enum class PositionKind : uint8_t { kLearned, kRope };
enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3 };

// Rotary positions, half-split pairs. Source: transformers modeling_rope_utils.py.
struct RopeSpec {
  int64_t dims = 0;  // of every head that rotate; even
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;           // kLinear, kLlama3
  double low_freq_factor = 1.0;  // kLlama3, as the next two
  double high_freq_factor = 4.0;
  int64_t original_max_position = 0;
};

struct ModelSpec {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn_size = 0;
  int64_t max_position = 0;  // positions are in [0, max_position)

  kernels::NormKind norm = kernels::NormKind::kRms;
  float norm_eps = 1e-5f;
  PositionKind position = PositionKind::kRope;
  RopeSpec rope;  // of kRope
  kernels::ActivationKind activation = kernels::ActivationKind::kSilu;
  bool gated = true;
  bool tied_head = false;                         // the head is the embedding
  float attention_scale = 1.0f;                   // of the scores, before the softmax
  bool attention_scale_by_inverse_layer = false;  // divided by (layer index + 1) as well
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_MODEL_SPEC_H_
