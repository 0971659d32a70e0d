// Chains of equal keys. See ngram_index.h.
#include "coordinator/spec/ngram_index.h"

#include <glog/logging.h>

#include <algorithm>

namespace quire::spec {
namespace {

constexpr size_t kFirstSlots = 64;

}  // namespace

NgramIndex::NgramIndex(int min, int max) : min_(min), max_(max), latest_(kFirstSlots, -1) {
  CHECK(1 <= min && min <= max) << min << " " << max;
}

size_t NgramIndex::SlotOf(int32_t end) const {
  const int32_t* key = tokens_.data() + end - (min_ - 1);
  uint64_t hash = 0;
  for (int i = 0; i < min_; ++i) {
    hash = (hash ^ static_cast<uint32_t>(key[i])) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  const size_t mask = latest_.size() - 1;
  for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const int32_t other = latest_[slot];
    if (other < 0 || std::equal(key, key + min_, tokens_.data() + other - (min_ - 1))) return slot;
  }
}

void NgramIndex::Grow() {
  std::vector<int32_t> old(2 * latest_.size(), -1);
  old.swap(latest_);
  for (int32_t end : old) {
    if (end >= 0) latest_[SlotOf(end)] = end;
  }
}

void NgramIndex::Append(int32_t token) {
  tokens_.push_back(token);
  previous_.push_back(-1);
  if (size() < min_) return;
  const int32_t end = static_cast<int32_t>(tokens_.size()) - 1;
  const size_t slot = SlotOf(end);
  previous_[end] = latest_[slot];
  latest_[slot] = end;
  if (previous_[end] < 0 && 2 * ++num_keys_ > latest_.size()) Grow();
}

int NgramIndex::CommonSuffix(int32_t a, int32_t b) const {
  const int most = std::min({a + 1, b + 1, max_});
  int length = 0;
  while (length < most && tokens_[a - length] == tokens_[b - length]) ++length;
  return length;
}

void NgramIndex::Propose(int count, std::vector<int32_t>* out) const {
  if (!HasMatch()) return;
  const int32_t last = static_cast<int32_t>(tokens_.size()) - 1;
  int32_t best = -1;
  int best_length = 0;
  int32_t at = previous_[last];
  for (int i = 0; i < kMaxCandidates && at >= 0 && best_length < max_; ++i, at = previous_[at]) {
    const int length = CommonSuffix(at, last);
    if (length <= best_length) continue;
    best = at;
    best_length = length;
  }
  const int32_t period = last - best;
  for (int i = 0; i < count; ++i) out->push_back(tokens_[best + 1 + i % period]);
}

}  // namespace quire::spec
