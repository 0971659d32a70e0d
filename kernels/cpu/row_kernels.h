// Operations on rows that touch each value a few times: norms, rotary positions, activations, sums, embeddings.
// FastBackend calls them on every thread with that thread's rows. Invariant: a row's result depends on that row alone.
#ifndef QUIRE_KERNELS_CPU_ROW_KERNELS_H_
#define QUIRE_KERNELS_CPU_ROW_KERNELS_H_

#include <cstdint>

#include "kernels/backend.h"

namespace quire::kernels::cpu {

// A token's answers from its experts, sorted by quarter (expert_ops.h).
struct CombineJob {
  const float* const* rows = nullptr;
  const float* weights = nullptr;
  int64_t quarter_begin[5] = {};  // in rows and weights; last: their number
  const float* extra = nullptr;   // null = none
  int64_t extra_quarter = 0;
};

struct RowKernels {
  // out = (x - mean) * scale * weight (+ bias), one row of `width`. bias may be null; x may be out.
  void (*norm)(NormKind kind, const float* x, const float* weight, const float* bias, float eps, int64_t width,
               float* out);
  float (*sum_squares)(const float* x, int64_t width);
  // out = x * scale * weight. x may be out.
  void (*weigh)(const float* x, float scale, const float* weight, int64_t width, float* out);
  // Rotates num_heads heads of head_dim in place; cosine and sine [half].
  void (*rope)(float* x, const float* cosine, const float* sine, int64_t num_heads, int64_t head_dim, int64_t half);
  // out = act(x), times up where up is not null.
  void (*activate)(ActivationKind kind, const float* x, const float* up, int64_t width, float* out);
  void (*add)(float* x, const float* y, int64_t width);
  // x = cap * tanh(x / cap).
  void (*soft_cap)(float* x, float cap, int64_t width);
  // out = the job's sum in the order of E2.
  void (*combine)(const CombineJob& job, int64_t width, float* out);
  // Widens a row of a table.
  void (*widen)(const void* row, DType dtype, int64_t width, float* out);
};

// Requires: the target is compiled in and the machine has it.
RowKernels RowKernelsFor(int64_t target);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_ROW_KERNELS_H_
