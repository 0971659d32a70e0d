// How much of a step goes to prompts, and to which. Pure functions; engine thread only.
//
// Decodes go first and whole; the prompts get what fits into the rest of the step's time, always at least
// kMinPrefillTokens, and all that the token cap allows when nothing decodes.
//
// Among several prompts that do not fit into one step: half of the prefill goes to the oldest, the other half to the
// shortest remainder first. So a short prompt does not wait behind a long one, a long one is never starved and at most
// halved, and prompts of one length run one after the other as if they had not met.
#ifndef QUIRE_COORDINATOR_SCHEDULER_PREFILL_BUDGET_H_
#define QUIRE_COORDINATOR_SCHEDULER_PREFILL_BUDGET_H_

#include <cstdint>
#include <vector>

#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_cost.h"

namespace quire::scheduler {

// Prompts that may be computed in part at a time. More may run where all of them fit into one step.
constexpr int64_t kMaxPartialPrefills = 4;
constexpr int64_t kMinPrefillTokens = 8;

// Values of target_step_ms: no limit in time, and limits that follow the time of the decodes.
constexpr int64_t kNoTarget = 0;
constexpr int64_t kAutoTarget = -1;

struct PrefillDemand {
  int64_t num_prompts = 0;  // that wait for their first token, or to go on after a preemption
  int64_t start = 0;        // longest context behind which one of them goes on, in tokens
};

// Tokens of prompts for a step with these decodes, at most `limit` (>= 0).
//   target_step_ms > 0: the whole step shall take that long.
//   kAutoTarget: prompts may add kAutoShare of the time of the decodes; as many prompts as wait beyond
//   kMaxPartialPrefills, so many times more: the first tokens of many weigh more than the pace of some.
int64_t PrefillBudget(const StepCost& cost, int64_t target_step_ms, const StepShape& decodes,
                      const PrefillDemand& demand, int64_t limit);

struct PrefillShare {
  request::SequenceGroup* group = nullptr;
  int64_t remaining = 0;  // tokens
  int64_t share = 0;      // of them, in this step
};

// Fills in the shares. Requires: in order of precedence.
void SharePrefill(int64_t budget, std::vector<PrefillShare>* prompts);

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_PREFILL_BUDGET_H_
