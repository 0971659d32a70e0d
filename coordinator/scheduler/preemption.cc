// See preemption.h.
#include "coordinator/scheduler/preemption.h"

#include "coordinator/request/probe.h"

namespace quire::scheduler {

using request::SequenceGroup;

int64_t ChooseVictim(const std::vector<SequenceGroup*>& running, size_t claimant, uint64_t build,
                     int64_t max_preemptions) {
  int64_t settling = kNobody;
  for (size_t i = running.size(); i-- > claimant + 1;) {
    const SequenceGroup& group = *running[i];
    if (group.planned_step == build || Spent(group, max_preemptions)) continue;
    if (!Settling(group)) return static_cast<int64_t>(i);
    Hit(Probe::kSettlingSpared);
    if (settling == kNobody) settling = static_cast<int64_t>(i);
  }
  return claimant == 0 || Spent(*running[claimant], max_preemptions) ? settling : kNobody;
}

bool SwapIsCheaper(int64_t blocks, int64_t tokens, double seconds_per_block, const StepCost& cost) {
  if (!cost.knows_prefill()) return true;
  return 2 * static_cast<double>(blocks) * seconds_per_block <= cost.PrefillSeconds(0, tokens);
}

}  // namespace quire::scheduler
