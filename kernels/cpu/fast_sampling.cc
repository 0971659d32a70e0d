#include "kernels/cpu/fast_sampling.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/cpu/logit_edits.h"
#include "kernels/sampling_math.h"

namespace quire::kernels::cpu {
namespace {

// The order of every filter.
struct HigherLogit {
  const float* logits;
  bool operator()(int32_t a, int32_t b) const {
    const float left = CleanLogit(logits[a]);
    const float right = CleanLogit(logits[b]);
    return left > right || (left == right && a < b);
  }
};

float Score(const float* logits, int32_t id, const DrawFilter& filter) {
  return SampleScore(CleanLogit(logits[id]), filter.max_logit, filter.inverse_temperature);
}

}  // namespace

void RowSampler::SelectTop(const float* logits, int64_t vocab, int64_t count) {
  ids_.clear();
  if (count == 0) return;
  const int64_t num_blocks = (vocab + kMaximaBlock - 1) / kMaximaBlock;
  // At least `count` logits reach the count-th highest block maximum, so the wanted ones all do.
  float threshold = -std::numeric_limits<float>::infinity();
  if (count <= num_blocks) {
    maxima_.resize(num_blocks);
    kernels_.block_maxima(logits, vocab, maxima_.data());
    std::nth_element(maxima_.begin(), maxima_.begin() + (count - 1), maxima_.end(), std::greater<float>());
    threshold = maxima_[count - 1];
  }
  ids_.resize(vocab + kCollectSlack);
  const int64_t found = kernels_.collect(logits, vocab, threshold, ids_.data());
  CHECK_GE(found, count);
  const HigherLogit order = {logits};
  if (count < found) std::nth_element(ids_.begin(), ids_.begin() + count, ids_.begin() + found, order);
  std::sort(ids_.begin(), ids_.begin() + count, order);
  ids_.resize(count);
}

void RowSampler::LogProbs(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result) {
  result->wants_logprob = row.num_logprobs >= 0;
  result->raw_edited.clear();
  result->top.clear();
  if (!result->wants_logprob) return;
  float max = 0.0f;
  int32_t argmax = 0;
  kernels_.argmax(logits, vocab, &max, &argmax);
  result->raw_log_normalizer =
      std::isinf(max) ? max : static_cast<float>(max + std::log(kernels_.sum_exp(logits, vocab, max)));
  SelectTop(logits, vocab, std::min<int64_t>(row.num_logprobs, vocab));
  for (int32_t id : ids_) result->top.emplace_back(id, RawLogprob(logits[id], result->raw_log_normalizer));
}

// The cut after the top_k-th id, or earlier by top-p over those that min-p left of them.
void RowSampler::CutTopK(const float* logits, int64_t vocab, const SampleRow& row, DrawFilter* filter) {
  SelectTop(logits, vocab, std::min<int64_t>(row.top_k, vocab));
  while (ids_.size() > 1 && !(Score(logits, ids_.back(), *filter) >= filter->least_score)) ids_.pop_back();
  size_t kept = ids_.size();
  if (row.top_p < 1.0f) {
    uint64_t total = 0;
    for (int32_t id : ids_) total += TopPWeight(Score(logits, id, *filter));
    const double limit = static_cast<double>(row.top_p) * static_cast<double>(total);
    uint64_t before = 0;
    kept = 0;
    while (kept < ids_.size() && static_cast<double>(before) < limit) {
      before += TopPWeight(Score(logits, ids_[kept++], *filter));
    }
  }
  filter->cut_id = ids_[kept - 1];
  filter->cut_logit = CleanLogit(logits[filter->cut_id]);
}

// Finds the score bucket in which the weight reaches top_p, then the id inside it.
void RowSampler::CutTopP(const float* logits, int64_t vocab, float top_p, DrawFilter* filter) {
  weights_.resize(vocab);
  buckets_.resize(vocab);
  mass_.assign(kBuckets, 0);
  for (int64_t i = 0; i < vocab; i += kWeighPiece) {
    const int64_t n = std::min(kWeighPiece, vocab - i);
    kernels_.weigh(logits + i, n, *filter, weights_.data() + i, buckets_.data() + i);
    for (int64_t j = i; j < i + n; ++j) mass_[buckets_[j]] += weights_[j];
  }
  uint64_t total = 0;
  for (uint64_t mass : mass_) total += mass;
  const double limit = static_cast<double>(top_p) * static_cast<double>(total);
  uint64_t before = 0;
  size_t bucket = 0;
  while (static_cast<double>(before + mass_[bucket]) < limit) before += mass_[bucket++];
  ids_.clear();
  for (int64_t i = 0; i < vocab; ++i) {
    if (buckets_[i] == bucket && weights_[i] > 0) ids_.push_back(static_cast<int32_t>(i));
  }
  std::sort(ids_.begin(), ids_.end(), HigherLogit{logits});
  size_t kept = 0;
  while (kept < ids_.size() && static_cast<double>(before) < limit) before += weights_[ids_[kept++]];
  CHECK_GT(kept, 0u);
  filter->cut_id = ids_[kept - 1];
  filter->cut_logit = logits[filter->cut_id];
}

void RowSampler::Sample(const float* logits, int64_t vocab, const SampleRow& row, SampleResult* result) {
  if (row.given >= 0) {
    result->token = row.given;
    return SetLogprob(logits, result);
  }
  DrawFilter filter;
  kernels_.argmax(logits, vocab, &filter.max_logit, &result->token);
  if (row.temperature == 0.0f || std::isinf(filter.max_logit)) return SetLogprob(logits, result);
  const int32_t argmax = result->token;
  filter.inverse_temperature = InverseTemperature(row.temperature);
  filter.least_score = row.min_p > 0.0f ? std::log(row.min_p) : std::numeric_limits<float>::lowest();
  filter.cut_logit = std::numeric_limits<float>::lowest();
  filter.cut_id = std::numeric_limits<int32_t>::max();
  if (row.top_k > 0 && row.top_k < vocab) {
    CutTopK(logits, vocab, row, &filter);
  } else if (row.top_p < 1.0f) {
    CutTopP(logits, vocab, row.top_p, &filter);
  }
  result->token = kernels_.draw(logits, vocab, filter, row, argmax);
  SetLogprob(logits, result);
}

}  // namespace quire::kernels::cpu
