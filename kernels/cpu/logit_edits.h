// Logit edits on the CPU: sparse and scalar, so the reference and the fast backend share them. Any thread; one row per
// call.
#ifndef QUIRE_KERNELS_CPU_LOGIT_EDITS_H_
#define QUIRE_KERNELS_CPU_LOGIT_EDITS_H_

#include "kernels/sampling_ops.h"

namespace quire::kernels::cpu {

// Applies the edits to one row, in the order bias, bans, repetition, frequency, presence. Where result wants a
// log-prob, first keeps the raw logits of the ids it changes. Shapes: logits [vocab]. result may be null.
void ApplyLogitEdits(const LogitEdits& edits, float* logits, int64_t vocab, SampleResult* result);

// Fills result.logprob of the drawn token, by its raw logit. Requires: LogProbs ran on the raw row.
void SetLogprob(const float* logits, SampleResult* result);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_LOGIT_EDITS_H_
