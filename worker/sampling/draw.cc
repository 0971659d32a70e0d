// A function of (parameters, tokens so far): so a resumed sequence draws what it would have drawn.
#include "worker/sampling/draw.h"

#include <algorithm>

namespace quire::worker {

kernels::LogitEdits MakeLogitEdits(const SamplingParams& params, const SeenTokens& seen, int32_t num_output) {
  kernels::LogitEdits edits;
  edits.allowed = params.allowed_token_ids;
  edits.bias = params.logit_bias;
  if (num_output < params.min_tokens) edits.banned = params.banned_until_min;
  if (params.has_penalties()) {
    edits.seen = seen.ids();
    edits.seen_counts = seen.counts();
    edits.repetition_penalty = params.repetition_penalty;
    edits.frequency_penalty = params.frequency_penalty;
    edits.presence_penalty = params.presence_penalty;
  }
  return edits;
}

void BannedTokens(const SamplingParams& params, absl::Span<const int32_t> output, std::vector<int32_t>* out) {
  out->clear();
  if (output.size() < static_cast<size_t>(params.min_tokens)) *out = params.banned_until_min;
  for (const std::vector<int32_t>& word : params.bad_words) {
    const size_t before = word.size() - 1;
    if (before > output.size()) continue;
    if (std::equal(word.begin(), word.end() - 1, output.end() - static_cast<ptrdiff_t>(before))) {
      out->push_back(word.back());
    }
  }
}

bool HasEdits(const kernels::LogitEdits& edits) {
  return !edits.mask.empty() || !edits.allowed.empty() || !edits.bias.empty() || !edits.banned.empty() ||
         !edits.seen.empty();
}

kernels::SampleRow MakeSampleRow(const SamplingParams& params, int32_t num_output, bool with_logprobs) {
  kernels::SampleRow row;
  row.temperature = params.temperature;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.top_k = params.top_k;
  row.seed = params.seed;
  row.position = static_cast<uint32_t>(num_output);
  row.choice = params.choice;
  row.num_logprobs = with_logprobs ? params.num_logprobs : -1;
  return row;
}

}  // namespace quire::worker
