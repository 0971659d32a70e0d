// Log-probs of prompts on their way back: chunks of a prefill are put together until the request's first delta takes
// them. Pure; engine thread only.
//
// Invariants:
//   L1  Each position is kept once, in order, whatever is computed again after a preemption or a lost replica.
// Bounded by admission: prompt tokens times alternatives has a limit (frontend/validate.h).
#ifndef QUIRE_COORDINATOR_ENGINE_PROMPT_LOGPROBS_H_
#define QUIRE_COORDINATOR_ENGINE_PROMPT_LOGPROBS_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

class PromptLogprobs {
 public:
  // Adds the positions from `first` (>= 1) on and returns how many there are now. Requires: no gap to what is there.
  int64_t Add(uint64_t group_id, int64_t first, std::vector<TokenLogprobs> rows);

  // Hands out and forgets what there is, position 1 first; empty if nothing is.
  std::vector<TokenLogprobs> Take(uint64_t group_id);

  void Forget(uint64_t group_id) { by_group_.erase(group_id); }

 private:
  std::unordered_map<uint64_t, std::vector<TokenLogprobs>> by_group_;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_PROMPT_LOGPROBS_H_
