// Log-probs and draws of one row from the vector passes of sampling_kernels.h: no full sort, no noise for ids that
// cannot win.
#ifndef QUIRE_KERNELS_CPU_FAST_SAMPLING_H_
#define QUIRE_KERNELS_CPU_FAST_SAMPLING_H_

#include <cstdint>
#include <vector>

#include "kernels/cpu/sampling_kernels.h"

namespace quire::kernels::cpu {

// Used by one thread at a time; keeps its memory between rows.
class RowSampler {
 public:
  explicit RowSampler(const SampleKernels& kernels) : kernels_(kernels) {}

  // As ReferenceLogProbs and ReferenceSample. Shapes: logits [vocab].
  void LogProbs(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result);
  void Sample(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result);

 private:
  // The `count` highest logits' ids in order (logit descending, id ascending), in ids_.
  void SelectTop(const float* logits, int64_t vocab, int64_t count);
  void CutTopK(const float* logits, int64_t vocab, const SampleRow& row, DrawFilter* filter);
  void CutTopP(const float* logits, int64_t vocab, float top_p, DrawFilter* filter);

  const SampleKernels kernels_;
  std::vector<int32_t> ids_;
  std::vector<float> maxima_;
  std::vector<uint32_t> weights_;
  std::vector<uint32_t> buckets_;
  std::vector<uint64_t> mass_;
};

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_FAST_SAMPLING_H_
