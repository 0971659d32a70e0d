// The host's side of sampling: arrays for the kernels out of LogitEdits and SampleRow, and results back. Pure but for
// the arrays that it fills; one thread.
#ifndef QUIRE_KERNELS_CUDA_SAMPLING_STEPS_H_
#define QUIRE_KERNELS_CUDA_SAMPLING_STEPS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/sampling_kernels.h"
#include "kernels/sampling_ops.h"

namespace quire::kernels::cuda {

// Edits of all rows that have any, flat. Keeps its room.
struct FlatEdits {
  std::vector<EditRow> rows;
  std::vector<int32_t> ids;
  std::vector<int32_t> counts;
  std::vector<float> biases;
  std::vector<uint32_t> masks;
  int64_t num_raw = 0;

  // `results` may be empty; where one wants a log-prob, the row's raw logits are to be kept.
  void Fill(absl::Span<const LogitEdits> edits, absl::Span<const SampleResult> results);
  // Puts the raw logits that the kernel kept into the results, by ascending id. Shapes: raw [num_raw].
  void KeepRaw(const float* raw, absl::Span<SampleResult> results) const;
};

DrawArgs MakeDrawArgs(const SampleRow& row);

// Token and log-prob of a row. Requires: LogProbs ran before where a log-prob is wanted.
void TakeDraw(const DrawResult& draw, SampleResult* result);

// Normalizer and the most probable ids of a row that wants log-probs. Shapes: top [num_top], in any order.
void TakeLogProbs(const LogProbResult& sums, absl::Span<IdLogit> top, SampleResult* result);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_SAMPLING_STEPS_H_
