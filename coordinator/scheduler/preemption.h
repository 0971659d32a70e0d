// Who gives way when blocks run out, and how. Pure functions over the running groups; engine thread only.
//
// A claimant takes blocks from the latest group behind it that has no item in the plan being built. Two kinds are
// spared:
//   - a *settling* group, which was preempted and has decoded fewer than kMinRunSteps steps since. Only the first of the
//     running groups and spent ones may take its blocks: else two groups could send each other away for ever.
//   - a *spent* group, which was preempted max_preemptions times. Nobody takes its blocks.
//
// Why nobody is preempted more often than that, for want of blocks, and still all make progress:
//   R1  A group becomes spent only while it waits, so a place among the running never changes. Spent groups stand before
//       all others, each kind in the order of the policy.
//   R2  A spent group is admitted only if the worst cases of all spent groups that run, with it, fit into the cache.
//   R3  So what a spent group lacks is held by groups behind it that are not spent, or it is free: it never has to take
//       from a spent one, and never has to give way itself.
//   R4  The first running group can take from all that are not spent. If it is spent it gets what it needs by R3; if not,
//       nobody is, and it gets what it needs because what never fits was refused at the door.
// Beside the bound stand groups that step back for one under suspicion (scheduler.h, D5), and lost replicas.
#ifndef QUIRE_COORDINATOR_SCHEDULER_PREEMPTION_H_
#define QUIRE_COORDINATOR_SCHEDULER_PREEMPTION_H_

#include <cstdint>
#include <vector>

#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_cost.h"

namespace quire::scheduler {

constexpr int64_t kMinRunSteps = 32;
constexpr int64_t kNobody = -1;

inline bool Settling(const request::SequenceGroup& group) {
  return group.num_preemptions > 0 && group.steps_since_resume < kMinRunSteps;
}
inline bool Spent(const request::SequenceGroup& group, int64_t max_preemptions) {
  return group.num_preemptions >= max_preemptions;
}

// The index of the group that gives way to the one at `claimant`; kNobody if none must. `build`: the plan being built.
int64_t ChooseVictim(const std::vector<request::SequenceGroup*>& running, size_t claimant, uint64_t build,
                     int64_t max_preemptions);

// Whether moving `blocks` out and in again takes less time than computing their `tokens` again. What was never measured
// is tried. Units: seconds per block moved one way.
bool SwapIsCheaper(int64_t blocks, int64_t tokens, double seconds_per_block, const StepCost& cost);

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_PREEMPTION_H_
