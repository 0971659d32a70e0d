#include "kernels/cuda/sampling_steps.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/sampling_math.h"

namespace quire::kernels::cuda {
namespace {

bool AnyTwice(absl::Span<const std::pair<int32_t, float>> bias) {
  std::vector<int32_t> ids;
  ids.reserve(bias.size());
  for (const auto& [id, value] : bias) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return std::adjacent_find(ids.begin(), ids.end()) != ids.end();
}

bool Changes(const LogitEdits& edit) {
  const bool penalties =
      edit.repetition_penalty != 1.0f || edit.frequency_penalty != 0.0f || edit.presence_penalty != 0.0f;
  return !edit.mask.empty() || !edit.allowed.empty() || !edit.bias.empty() || !edit.banned.empty() ||
         (penalties && !edit.seen.empty());
}

}  // namespace

void FlatEdits::Fill(absl::Span<const LogitEdits> edits, absl::Span<const SampleResult> results) {
  rows.clear();
  ids.clear();
  counts.clear();
  biases.clear();
  masks.clear();
  num_raw = 0;
  const auto add = [this](int32_t id, int32_t count, float bias) {
    ids.push_back(id);
    counts.push_back(count);
    biases.push_back(bias);
  };
  for (size_t i = 0; i < edits.size(); ++i) {
    const LogitEdits& edit = edits[i];
    if (!Changes(edit)) continue;
    EditRow& row = rows.emplace_back();
    row.row = static_cast<int32_t>(i);
    row.repetition_penalty = edit.repetition_penalty;
    row.frequency_penalty = edit.frequency_penalty;
    row.presence_penalty = edit.presence_penalty;
    if (!edit.mask.empty()) row.mask_begin = static_cast<int32_t>(masks.size());
    masks.insert(masks.end(), edit.mask.begin(), edit.mask.end());
    row.serial_bias = AnyTwice(edit.bias) ? 1 : 0;
    row.allowed_begin = static_cast<int32_t>(ids.size());
    row.num_allowed = static_cast<int32_t>(edit.allowed.size());
    for (int32_t id : edit.allowed) add(id, 0, 0.0f);
    row.bias_begin = static_cast<int32_t>(ids.size());
    row.num_bias = static_cast<int32_t>(edit.bias.size());
    for (const auto& [id, bias] : edit.bias) add(id, 0, bias);
    row.banned_begin = static_cast<int32_t>(ids.size());
    row.num_banned = static_cast<int32_t>(edit.banned.size());
    for (int32_t id : edit.banned) add(id, 0, 0.0f);
    row.seen_begin = static_cast<int32_t>(ids.size());
    row.num_seen = static_cast<int32_t>(edit.seen.size());
    for (size_t j = 0; j < edit.seen.size(); ++j) add(edit.seen[j], edit.seen_counts[j], 0.0f);
    if (results.empty() || !results[i].wants_logprob) continue;
    row.raw_begin = static_cast<int32_t>(num_raw);
    num_raw += row.num_bias + row.num_banned + row.num_seen;
  }
}

void FlatEdits::KeepRaw(const float* raw, absl::Span<SampleResult> results) const {
  for (const EditRow& row : rows) {
    if (row.raw_begin < 0) continue;
    std::vector<std::pair<int32_t, float>>& kept = results[row.row].raw_edited;
    kept.clear();
    // Bias, banned and seen ids lie behind each other in both arrays.
    for (int32_t i = 0; i < row.num_bias + row.num_banned + row.num_seen; ++i) {
      kept.emplace_back(ids[row.bias_begin + i], raw[row.raw_begin + i]);
    }
    std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  }
}

DrawArgs MakeDrawArgs(const SampleRow& row) {
  DrawArgs args;
  args.seed = row.seed;
  args.position = row.position;
  args.choice = row.choice;
  args.inverse_temperature = row.temperature == 0.0f ? 0.0f : InverseTemperature(row.temperature);
  args.least_score = row.min_p > 0.0f ? std::log(row.min_p) : std::numeric_limits<float>::lowest();
  args.top_p = row.top_p;
  args.top_k = row.top_k;
  args.given = row.given;
  return args;
}

void TakeDraw(const DrawResult& draw, SampleResult* result) {
  result->token = draw.token;
  if (!result->wants_logprob) return;
  const auto& kept = result->raw_edited;
  const auto it = std::lower_bound(kept.begin(), kept.end(), draw.token,
                                   [](const auto& entry, int32_t id) { return entry.first < id; });
  const float raw = it != kept.end() && it->first == draw.token ? it->second : draw.logit;
  result->logprob = RawLogprob(raw, result->raw_log_normalizer);
}

void TakeLogProbs(const LogProbResult& sums, absl::Span<IdLogit> top, SampleResult* result) {
  result->raw_log_normalizer =
      std::isinf(sums.max) ? sums.max : static_cast<float>(static_cast<double>(sums.max) + std::log(sums.sum));
  std::sort(top.begin(), top.end(), [](const IdLogit& a, const IdLogit& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  });
  for (const IdLogit& entry : top) {
    result->top.emplace_back(entry.id, RawLogprob(entry.logit, result->raw_log_normalizer));
  }
}

}  // namespace quire::kernels::cuda
