// What sampling means: the data that EditLogits, LogProbs and Sample take, and the order of a sampled step. Leaf; plain
// data.
//
// Order (design section 8): LogProbs records raw log-probs -> EditLogits: mask, allowed ids, logit bias, bans (minimum length, bad words),
// repetition, frequency and presence penalties -> Sample: temperature, min-p, top-k, top-p, draw. The draw is
// Gumbel-max over counter-based noise: token = argmax over surviving ids of logit / temperature + g(id), ties to the
// lowest id, g = -log(-log(u)), u in (0, 1) from Philox4x32-10 with key = seed and counter = (position, choice, id / 4,
// purpose), lane id % 4 (philox.h, sampling_math.h). So a draw depends on nothing but (seed, position, choice, logits):
// not on batch, step, rank or retry. Exact rules, the same on every backend:
// - score = (logit - highest logit) * (1 / temperature). NaN counts as minus infinity. A row whose highest logit is
// infinite (all banned, or
//   overflow) gives the lowest id that has it.
// - min-p keeps score >= ln(min_p); top-k keeps the k highest logits; top-p keeps the shortest prefix with at least
// top_p of the weight that
//   min-p and top-k left; both order by (logit descending, id ascending). Weights are integers (TopPWeight): their sum
//   has no order.
#ifndef QUIRE_KERNELS_SAMPLING_OPS_H_
#define QUIRE_KERNELS_SAMPLING_OPS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace quire::kernels {

// Edits of one row of logits. Spans are owned by the caller.
struct LogitEdits {
  absl::Span<const int32_t> allowed;  // all other ids are set to -infinity; empty = all
  absl::Span<const uint32_t> mask;    // bit id % 32 of word id / 32: it may be drawn, others are -infinity; empty = all
  absl::Span<const std::pair<int32_t, float>> bias;  // added to the logit of an id
  absl::Span<const int32_t> banned;                  // set to -infinity (end-of-sequence ids before min_tokens)
  absl::Span<const int32_t> seen;                    // distinct ids of the prompt and the output so far
  absl::Span<const int32_t> seen_counts;             // times each was generated; 0 = in the prompt only
  float repetition_penalty = 1.0f;                   // over prompt and output: l > 0 ? l / p : l * p
  float frequency_penalty = 0.0f;                    // l -= p * count, output only
  float presence_penalty = 0.0f;                     // l -= p * (count > 0), output only
};

struct SampleRow {
  float temperature = 1.0f;  // 0 = greedy: the highest logit, ties to the lowest id
  float top_p = 1.0f;        // (0, 1]
  float min_p = 0.0f;        // [0, 1]
  int32_t top_k = 0;         // 0 = all
  uint64_t seed = 0;
  uint32_t position = 0;      // of the output token, 0-based
  uint32_t choice = 0;        // index among the choices of the request
  int32_t given = -1;         // a token of the prompt: nothing is drawn, its log-prob is taken; -1 = draw
  int32_t num_logprobs = -1;  // -1 = none; 0 = the drawn token's only; n = the n most probable as well
};

struct SampleResult {
  int32_t token = -1;
  float logprob = 0.0f;  // natural log, raw distribution, of `token`; valid iff num_logprobs >= 0
  // Raw, most probable first, ties to the lowest id; size min(num_logprobs, vocab).
  std::vector<std::pair<int32_t, float>> top;
  // Kept by LogProbs and EditLogits for Sample: the wish, the log-sum-exp of the raw row, raw logits of edited ids by
  // ascending id.
  bool wants_logprob = false;
  float raw_log_normalizer = 0.0f;
  std::vector<std::pair<int32_t, float>> raw_edited;
};

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_SAMPLING_OPS_H_
