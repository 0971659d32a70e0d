// The distinct tokens of a sequence and how often each was generated: what penalties read. Grows with the sequence,
// never rebuilt on the steady path. Compute thread.
#ifndef QUIRE_WORKER_SAMPLING_SEEN_TOKENS_H_
#define QUIRE_WORKER_SAMPLING_SEEN_TOKENS_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"

namespace quire::worker {

class SeenTokens final {
 public:
  void AddPrompt(absl::Span<const int32_t> ids) {
    for (int32_t id : ids) IndexOf(id);
  }
  void AddOutput(int32_t id) { ++counts_[IndexOf(id)]; }

  // Distinct ids in the order of their first occurrence, and times generated (0 = in the prompt only).
  absl::Span<const int32_t> ids() const { return ids_; }
  absl::Span<const int32_t> counts() const { return counts_; }

 private:
  int32_t IndexOf(int32_t id) {
    const auto [it, fresh] = index_.try_emplace(id, static_cast<int32_t>(ids_.size()));
    if (fresh) {
      ids_.push_back(id);
      counts_.push_back(0);
    }
    return it->second;
  }

  std::vector<int32_t> ids_, counts_;
  absl::flat_hash_map<int32_t, int32_t> index_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SAMPLING_SEEN_TOKENS_H_
