// One draw of a step, in the words of the sampling kernels: what is edited in its row of logits, and how it is drawn.
// Pure.
#ifndef QUIRE_WORKER_SAMPLING_DRAW_H_
#define QUIRE_WORKER_SAMPLING_DRAW_H_

#include <cstdint>
#include <vector>

#include "kernels/sampling_ops.h"
#include "worker/sampling/sampling_params.h"
#include "worker/sampling/seen_tokens.h"

namespace quire::worker {

// The edits before the next token of a sequence that has `num_output` tokens out: allowed ids; bias; bans while fewer than
// min_tokens are out; penalties over `seen`. The spans point into the arguments.
kernels::LogitEdits MakeLogitEdits(const SamplingParams& params, const SeenTokens& seen, int32_t num_output);

// The ids that bad words ban after `output`, and those that are banned before min_tokens, in *out. Requires: bad words.
void BannedTokens(const SamplingParams& params, absl::Span<const int32_t> output, std::vector<int32_t>* out);

// Whether the edits change anything.
bool HasEdits(const kernels::LogitEdits& edits);

// How the next token is drawn. `with_logprobs` false: the tokens only (every rank but the first).
kernels::SampleRow MakeSampleRow(const SamplingParams& params, int32_t num_output, bool with_logprobs);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SAMPLING_DRAW_H_
