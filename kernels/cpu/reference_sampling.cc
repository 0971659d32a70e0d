#include "kernels/cpu/reference_sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cpu/logit_edits.h"
#include "kernels/philox.h"
#include "kernels/sampling_math.h"

namespace quire::kernels::cpu {
namespace {

// All ids in the one order that every filter uses: logit descending, id ascending.
std::vector<int32_t> SortedIds(const float* logits, int64_t vocab) {
  std::vector<int32_t> ids(vocab);
  std::iota(ids.begin(), ids.end(), 0);
  std::stable_sort(ids.begin(), ids.end(),
                   [logits](int32_t a, int32_t b) { return CleanLogit(logits[a]) > CleanLogit(logits[b]); });
  return ids;
}

void KeepTopP(const std::vector<float>& scores, float top_p, std::vector<int32_t>* ids) {
  uint64_t total = 0;
  for (int32_t id : *ids) total += TopPWeight(scores[id]);
  const double limit = static_cast<double>(top_p) * static_cast<double>(total);
  uint64_t before = 0;
  size_t kept = 0;
  while (kept < ids->size() && static_cast<double>(before) < limit) before += TopPWeight(scores[(*ids)[kept++]]);
  ids->resize(kept);
}

}  // namespace

void ReferenceLogProbs(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result) {
  result->wants_logprob = row.num_logprobs >= 0;
  result->raw_edited.clear();
  result->top.clear();
  if (!result->wants_logprob) return;
  const std::vector<int32_t> ids = SortedIds(logits, vocab);
  const float max = CleanLogit(logits[ids[0]]);
  double sum = 0.0;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(static_cast<double>(CleanLogit(logits[i])) - max);
  result->raw_log_normalizer = std::isinf(max) ? max : static_cast<float>(max + std::log(sum));
  const int64_t num_top = std::min<int64_t>(row.num_logprobs, vocab);
  for (int64_t i = 0; i < num_top; ++i) {
    result->top.emplace_back(ids[i], RawLogprob(logits[ids[i]], result->raw_log_normalizer));
  }
}

void ReferenceSample(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result) {
  if (row.given >= 0) {
    result->token = row.given;
    return SetLogprob(logits, result);
  }
  std::vector<int32_t> ids = SortedIds(logits, vocab);
  const float max = CleanLogit(logits[ids[0]]);
  result->token = ids[0];
  if (row.temperature == 0.0f || std::isinf(max)) return SetLogprob(logits, result);

  std::vector<float> scores(vocab);
  const float inverse = InverseTemperature(row.temperature);
  for (int64_t i = 0; i < vocab; ++i) scores[i] = SampleScore(CleanLogit(logits[i]), max, inverse);

  const auto drop = [&](float least) {
    ids.erase(std::remove_if(ids.begin(), ids.end(), [&](int32_t id) { return !(scores[id] >= least); }), ids.end());
  };
  drop(std::numeric_limits<float>::lowest());  // banned ids
  if (row.min_p > 0.0f) drop(std::log(row.min_p));
  if (row.top_k > 0 && static_cast<size_t>(row.top_k) < ids.size()) ids.resize(row.top_k);
  if (row.top_p < 1.0f) KeepTopP(scores, row.top_p, &ids);

  float best = -std::numeric_limits<float>::infinity();
  for (int32_t id : ids) {
    const PhiloxBlock noise = DrawNoise(row.seed, row.position, row.choice, static_cast<uint32_t>(id) / 4);
    const float value = scores[id] + GumbelNoise(noise.lane[id % 4]);
    if (value > best || (value == best && id < result->token)) {
      best = value;
      result->token = id;
    }
  }
  SetLogprob(logits, result);
}

}  // namespace quire::kernels::cpu
