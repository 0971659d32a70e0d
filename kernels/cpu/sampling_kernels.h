// Passes over one row of logits. fast_sampling.cc puts them together; one row is one thread's.
// Invariant: the same token as cpu/reference_sampling.cc, always: filters compare the same numbers (sampling_math.h),
// and a pass only skips ids that cannot win.
#ifndef QUIRE_KERNELS_CPU_SAMPLING_KERNELS_H_
#define QUIRE_KERNELS_CPU_SAMPLING_KERNELS_H_

#include <cstdint>

#include "kernels/sampling_ops.h"

namespace quire::kernels::cpu {

inline constexpr int64_t kMaximaBlock = 128;  // logits per block maximum
inline constexpr int64_t kWeighPiece = 1024;  // logits per call of weigh
inline constexpr int64_t kBuckets = 1024;     // of scores, for top-p; the last holds all that weigh nothing
inline constexpr int64_t kCollectSlack = 16;  // ids that collect may write past the last it returns

// Which ids may be drawn: those at or before (cut_logit, cut_id) in the order (logit descending, id ascending) with
// score >= least.
struct DrawFilter {
  float max_logit = 0.0f;
  float inverse_temperature = 1.0f;
  float least_score = 0.0f;
  float cut_logit = 0.0f;
  int32_t cut_id = 0;
};

struct SampleKernels {
  // Highest logit and the lowest id that has it; NaN counts as minus infinity.
  void (*argmax)(const float* logits, int64_t n, float* max, int32_t* id);
  // Sum of e^(logit - max).
  double (*sum_exp)(const float* logits, int64_t n, float max);
  // Highest logit of each block of kMaximaBlock.
  void (*block_maxima)(const float* logits, int64_t n, float* maxima);
  // Ids, ascending, whose logit is >= threshold; returns how many. Shapes: ids [n + kCollectSlack].
  int64_t (*collect)(const float* logits, int64_t n, float threshold, int32_t* ids);
  // Top-p weights (0 under least_score) and buckets, ascending with falling score. Shapes: [kWeighPiece], n <=
  // kWeighPiece.
  void (*weigh)(const float* logits, int64_t n, const DrawFilter& filter, uint32_t* weights, uint32_t* buckets);
  // The Gumbel-max draw among the ids that the filter lets pass. Requires: `argmax` passes.
  int32_t (*draw)(const float* logits, int64_t n, const DrawFilter& filter, const SampleRow& row, int32_t argmax);
};

// Requires: the target is compiled in and the machine has it.
SampleKernels SampleKernelsFor(int64_t target);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_SAMPLING_KERNELS_H_
