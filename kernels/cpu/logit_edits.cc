#include "kernels/cpu/logit_edits.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/sampling_math.h"

namespace quire::kernels::cpu {
namespace {

void KeepRawLogits(const LogitEdits& edits, const float* logits, SampleResult* result) {
  std::vector<std::pair<int32_t, float>>& kept = result->raw_edited;
  kept.clear();
  kept.reserve(edits.bias.size() + edits.banned.size() + edits.seen.size());
  for (const auto& [id, bias] : edits.bias) kept.emplace_back(id, logits[id]);
  for (int32_t id : edits.banned) kept.emplace_back(id, logits[id]);
  for (int32_t id : edits.seen) kept.emplace_back(id, logits[id]);
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
}

// The others' raw logits are not needed any more: what is drawn is one of the allowed.
void KeepAllowed(absl::Span<const int32_t> allowed, float* logits, int64_t vocab) {
  std::vector<float> kept;
  kept.reserve(allowed.size());
  for (int32_t id : allowed) kept.push_back(logits[id]);
  std::fill_n(logits, vocab, -std::numeric_limits<float>::infinity());
  for (size_t i = 0; i < allowed.size(); ++i) logits[allowed[i]] = kept[i];
}

// Words of all ones, which are most of them inside a string, cost one comparison.
void ApplyMask(absl::Span<const uint32_t> mask, float* logits, int64_t vocab) {
  for (size_t word = 0; word < mask.size(); ++word) {
    if (mask[word] == ~uint32_t{0}) continue;
    float* at = logits + 32 * word;
    const int64_t count = std::min<int64_t>(32, vocab - static_cast<int64_t>(32 * word));
    for (int64_t i = 0; i < count; ++i) {
      if ((mask[word] >> i & 1) == 0) at[i] = -std::numeric_limits<float>::infinity();
    }
  }
}

}  // namespace

void ApplyLogitEdits(const LogitEdits& edits, float* logits, int64_t vocab, SampleResult* result) {
  if (result != nullptr && result->wants_logprob) KeepRawLogits(edits, logits, result);
  if (!edits.mask.empty()) ApplyMask(edits.mask, logits, vocab);
  if (!edits.allowed.empty()) KeepAllowed(edits.allowed, logits, vocab);
  for (const auto& [id, bias] : edits.bias) logits[id] += bias;
  for (int32_t id : edits.banned) logits[id] = -std::numeric_limits<float>::infinity();
  if (edits.repetition_penalty == 1.0f && edits.frequency_penalty == 0.0f && edits.presence_penalty == 0.0f) return;
  for (size_t i = 0; i < edits.seen.size(); ++i) {
    float& logit = logits[edits.seen[i]];
    logit = logit > 0.0f ? logit / edits.repetition_penalty : logit * edits.repetition_penalty;
    logit -= edits.frequency_penalty * static_cast<float>(edits.seen_counts[i]);
    if (edits.seen_counts[i] > 0) logit -= edits.presence_penalty;
  }
}

void SetLogprob(const float* logits, SampleResult* result) {
  if (!result->wants_logprob) return;
  const auto& kept = result->raw_edited;
  const auto it = std::lower_bound(kept.begin(), kept.end(), result->token,
                                   [](const auto& entry, int32_t id) { return entry.first < id; });
  const float raw = it != kept.end() && it->first == result->token ? it->second : logits[result->token];
  result->logprob = RawLogprob(raw, result->raw_log_normalizer);
}

}  // namespace quire::kernels::cpu
