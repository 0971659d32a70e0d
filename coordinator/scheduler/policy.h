// The names of the scheduling policies; waiting_queue.h says what they mean. Leaf.
#ifndef QUIRE_COORDINATOR_SCHEDULER_POLICY_H_
#define QUIRE_COORDINATOR_SCHEDULER_POLICY_H_

#include <cstdint>

namespace quire::scheduler {

enum class Policy : uint8_t { kFcfs, kPriority, kFair };

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_POLICY_H_
