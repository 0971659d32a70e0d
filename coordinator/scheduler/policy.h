// The names of the scheduling policies (waiting_queue.h says what they mean) and of the kinds of preemption. Leaf.
#ifndef QUIRE_COORDINATOR_SCHEDULER_POLICY_H_
#define QUIRE_COORDINATOR_SCHEDULER_POLICY_H_

#include <cstdint>

namespace quire::scheduler {

enum class Policy : uint8_t { kFcfs, kPriority, kFair };

// What becomes of the blocks of a preempted group.
enum class PreemptionMode : uint8_t { kAuto, kSwap, kRecompute };

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_POLICY_H_
