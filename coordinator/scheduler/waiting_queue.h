// Who runs next: the waiting groups in the order of the policy. Pure; engine thread only.
//
//   fcfs      by arrival
//   priority  lower priority numbers first, then by arrival
//   fair      the tenant that has had the least service first (TenantCounters), inside a tenant by arrival
//
// A preempted group waits at the place of its arrival, so it comes before everything that arrived after it.
#ifndef QUIRE_COORDINATOR_SCHEDULER_WAITING_QUEUE_H_
#define QUIRE_COORDINATOR_SCHEDULER_WAITING_QUEUE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/policy.h"
#include "coordinator/scheduler/tenant_counters.h"

namespace quire::scheduler {

class WaitingQueue {
 public:
  explicit WaitingQueue(Policy policy) : policy_(policy) {}

  // Whether `a` has precedence over `b` once both run: the later one of two is preempted first.
  bool Before(const request::SequenceGroup& a, const request::SequenceGroup& b) const { return KeyOf(a) < KeyOf(b); }

  void Add(request::SequenceGroup* group);
  // False: it does not wait.
  bool Remove(request::SequenceGroup* group);
  bool Contains(const request::SequenceGroup& group) const;
  // The next to be admitted; null if nobody waits.
  request::SequenceGroup* Next(const TenantCounters& counters) const;
  int64_t size() const { return size_; }
  // Of all that wait: tokens of their prompts, and memory.
  int64_t tokens() const { return tokens_; }
  int64_t bytes() const { return bytes_; }
  // When the one arrived that waits longest; infinite future if nobody waits. Cost: tenants and priorities that wait.
  absl::Time OldestArrival() const;
  bool empty() const { return size_ == 0; }

  template <typename F>
  void ForEach(F&& f) const {
    for (const auto& [tenant, queue] : queues_) {
      for (const auto& [key, group] : queue) f(group);
    }
  }

 private:
  using Key = std::pair<int32_t, uint64_t>;  // priority (0 but under that policy), id
  using Queue = std::map<Key, request::SequenceGroup*>;

  Key KeyOf(const request::SequenceGroup& group) const {
    return {policy_ == Policy::kPriority ? group.request.priority : 0, group.id};
  }
  // One queue for all, or one for each tenant that waits.
  const std::string& QueueOf(const request::SequenceGroup& group) const;

  const Policy policy_;
  std::map<std::string, Queue> queues_;  // none is empty
  int64_t size_ = 0;
  int64_t tokens_ = 0;
  int64_t bytes_ = 0;
};

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_WAITING_QUEUE_H_
