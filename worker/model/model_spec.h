// What a decoder-only model is, as plain data: the only thing the forward pass branches on. Leaf; any thread.
#ifndef QUIRE_WORKER_MODEL_MODEL_SPEC_H_
#define QUIRE_WORKER_MODEL_MODEL_SPEC_H_

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace quire::worker {

enum class PositionKind : uint8_t { kLearned, kRope, kAlibi };
enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn, kLong };
// Of a rope's base, where longer contexts than the trained ones are served: in step with their length ("dynamic"), or by
// one more doubling each time it doubles (the first Qwen).
enum class BaseGrowth : uint8_t { kNone, kSmooth, kDoubling };

struct LongRopeFactors {
  std::vector<double> factors;  // [dims / 2], of the wavelengths
  double amplitude = 1.0;       // of cosines and sines
};

// Rotary positions, half-split pairs: weights of neighbouring pairs are reordered on load. Source: transformers modeling_rope_utils.py.
struct RopeSpec {
  int64_t dims = 0;                   // of every head that rotate; even
  bool stored_in_neighbours = false;  // the checkpoint's pairs are (2i, 2i + 1)
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;           // of every kind but kNone, and of kSmooth
  double low_freq_factor = 1.0;  // kLlama3, as the next two
  double high_freq_factor = 4.0;
  int64_t original_max_position = 0;  // kYarn and kLong too
  double beta_fast = 32.0;            // kYarn, as the next three
  double beta_slow = 1.0;
  bool truncate = true;
  double attention_factor = 1.0;  // on cosines and sines
  LongRopeFactors short_factors;  // kLong, as the next two; one of them is taken (long_rope.h)
  LongRopeFactors long_factors;
  std::vector<double> pair_factors;
  BaseGrowth growth = BaseGrowth::kNone;
  int64_t trained_length = 0;  // of contexts, in tokens; where the base grows
};

// A mixture of experts in place of the mlp of some layers.
struct ExpertsSpec {
  int64_t count = 0;            // 0: the model has none
  int64_t chosen = 0;           // of a token
  int64_t ffn_size = 0;         // of one expert
  int64_t shared_ffn_size = 0;  // of the mlp that every token takes as well, behind a gate; 0: none
  bool renormalize = false;     // the weights of the chosen sum to 1
  std::vector<bool> layers;     // [num_layers], which have experts
};

// Norms of queries and keys: of each head with weights that all share, of each head with its own, or of all heads as one
// (RMS only).
enum class HeadNorm : uint8_t { kShared, kOwn, kWhole };

struct ModelSpec {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t embed_size = 0;  // of an embedding, before it is projected; 0: the hidden size
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t ffn_size = 0;
  int64_t max_position = 0;       // positions are in [0, max_position)
  int64_t skipped_positions = 0;  // leading rows of the table of learned positions that no token has

  kernels::NormKind norm = kernels::NormKind::kRms;
  float norm_eps = 1e-5f;
  bool norms_are_plain = false;  // norms have neither weights nor biases
  PositionKind position = PositionKind::kRope;
  RopeSpec rope;                            // of kRope
  std::vector<bool> layer_has_window_rope;  // [num_layers]; empty: all layers turn alike
  RopeSpec window_rope;                     // of those layers
  // Of kRope: the query at position p, counted from 1, is multiplied by log(p) / log(this) from here on; 0: none is.
  int64_t queries_grow_beyond = 0;
  double alibi_bias_max = 8.0;  // of kAlibi: a head's slope is 2 to the power of -(its share of this)
  bool alibi_in_bf16 = false;   // see AttentionParams
  kernels::ActivationKind activation = kernels::ActivationKind::kSilu;
  bool gated = true;
  bool tied_head = false;                  // the head is the embedding
  bool head_rows_have_length_one = false;  // the head's rows count divided by their lengths
  bool residual_from_norm = false;         // what a block adds to is its normed input
  bool parallel_residual = false;          // attention and mlp read the same residual stream
  bool norms_follow = false;               // norm(x + f(x)) instead of x + f(norm(x))
  bool has_head_norm = true;               // if the family knows norms of queries and keys
  HeadNorm head_norm = HeadNorm::kShared;
  bool queries_are_centered = false;     // kWhole, of LayerNorms: their mean is taken from queries and keys on load
  bool norm_adds_one = false;            // a stored norm weight w means 1 + w
  std::vector<bool> layer_has_rope;      // [num_layers]; empty: every layer has
  float embedding_scale = 1.0f;          // of a token's embedding
  bool embedding_scale_is_root = false;  // sqrt(hidden_size) instead, rounded to the weights' type
  float residual_scale = 1.0f;           // of what attention and mlp add
  float logits_scale = 1.0f;
  float logits_softcap = 0.0f;  // 0: none, as the next two
  float attention_softcap = 0.0f;
  float qkv_limit = 0.0f;                         // of the size of every element of queries, keys and values
  std::vector<int64_t> layer_window;              // [num_layers], in tokens, 0: none; empty: no layer has one
  float attention_scale = 1.0f;                   // of the scores, before the softmax
  bool attention_scale_by_inverse_layer = false;  // divided by (layer index + 1) as well

  ExpertsSpec experts;

  // Flags of the config that say of tensors that they are there, or are not (TensorRule::flags).
  std::set<std::string> promised;
  std::set<std::string> denied;

  bool HasExperts(int64_t layer) const { return experts.count > 0 && experts.layers[layer]; }
  int64_t embed_cols() const { return embed_size > 0 ? embed_size : hidden_size; }
  int64_t WindowOf(int64_t layer) const { return layer_window.empty() ? 0 : layer_window[layer]; }
  // No layer looks further back than so many tokens, the newest included; 0: some layer sees them all. Keys and values
  // of older tokens are never read again.
  int64_t OldestVisibleWindow() const {
    if (std::count(layer_window.begin(), layer_window.end(), 0) > 0) return 0;
    return layer_window.empty() ? 0 : *std::max_element(layer_window.begin(), layer_window.end());
  }

  // Of the table of learned positions.
  int64_t position_rows() const { return skipped_positions + max_position; }
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_MODEL_SPEC_H_
