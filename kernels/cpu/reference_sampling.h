// The readable definition of log-probs and of the draw, one row at a time; the oracle for every other sampler. Any
// thread.
#ifndef QUIRE_KERNELS_CPU_REFERENCE_SAMPLING_H_
#define QUIRE_KERNELS_CPU_REFERENCE_SAMPLING_H_

#include <cstdint>

#include "kernels/sampling_ops.h"

namespace quire::kernels::cpu {

// Fills top, raw_log_normalizer and wants_logprob from the raw row. Shapes: logits [vocab].
void ReferenceLogProbs(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result);

// Draws the token and fills its log-prob if wanted. Shapes: logits [vocab].
void ReferenceSample(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_REFERENCE_SAMPLING_H_
