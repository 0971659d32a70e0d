// Chunks of prompts, each position once. See prompt_logprobs.h.
#include "coordinator/engine/prompt_logprobs.h"

#include <glog/logging.h>

#include <iterator>
#include <utility>

namespace quire::engine {

int64_t PromptLogprobs::Add(uint64_t group_id, int64_t first, std::vector<TokenLogprobs> rows) {
  std::vector<TokenLogprobs>& kept = by_group_[group_id];
  const int64_t have = static_cast<int64_t>(kept.size());
  CHECK(first >= 1 && first <= have + 1) << "position " << first << " after " << have << " of request " << group_id;
  const int64_t known = have + 1 - first;
  if (known < static_cast<int64_t>(rows.size())) {
    kept.insert(kept.end(), std::make_move_iterator(rows.begin() + known), std::make_move_iterator(rows.end()));
  }
  return static_cast<int64_t>(kept.size());
}

std::vector<TokenLogprobs> PromptLogprobs::Take(uint64_t group_id) {
  const auto it = by_group_.find(group_id);
  if (it == by_group_.end()) return {};
  std::vector<TokenLogprobs> rows = std::move(it->second);
  by_group_.erase(it);
  return rows;
}

}  // namespace quire::engine
