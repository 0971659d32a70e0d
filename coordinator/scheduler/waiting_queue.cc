// Orders of admission. See waiting_queue.h.
#include "coordinator/scheduler/waiting_queue.h"

#include <glog/logging.h>

#include <algorithm>
#include <limits>

namespace quire::scheduler {

using request::SequenceGroup;

const std::string& WaitingQueue::QueueOf(const SequenceGroup& group) const {
  static const std::string* const kAll = new std::string;
  return policy_ == Policy::kFair ? group.request.tenant : *kAll;
}

void WaitingQueue::Add(SequenceGroup* group) {
  CHECK(queues_[QueueOf(*group)].emplace(KeyOf(*group), group).second)
      << "request " << group->request.request_id << " waits already";
  ++size_;
  tokens_ += group->prompt_len();
  bytes_ += group->request_bytes;
}

bool WaitingQueue::Remove(SequenceGroup* group) {
  const auto queue = queues_.find(QueueOf(*group));
  if (queue == queues_.end() || queue->second.erase(KeyOf(*group)) == 0) return false;
  if (queue->second.empty()) queues_.erase(queue);
  --size_;
  tokens_ -= group->prompt_len();
  bytes_ -= group->request_bytes;
  return true;
}

bool WaitingQueue::Contains(const SequenceGroup& group) const {
  const auto queue = queues_.find(QueueOf(group));
  return queue != queues_.end() && queue->second.count(KeyOf(group)) > 0;
}

SequenceGroup* WaitingQueue::Next(const TenantCounters& counters) const {
  SequenceGroup* next = nullptr;
  double least = 0;
  for (const auto& [tenant, queue] : queues_) {
    SequenceGroup* first = queue.begin()->second;
    const double counter = policy_ == Policy::kFair ? counters.counter(tenant) : 0;
    if (next == nullptr || counter < least || (counter == least && first->id < next->id)) {
      next = first;
      least = counter;
    }
  }
  return next;
}

absl::Time WaitingQueue::OldestArrival() const {
  absl::Time oldest = absl::InfiniteFuture();
  for (const auto& [tenant, queue] : queues_) {
    // Of each priority the first: ids ascend with arrival.
    for (auto it = queue.begin(); it != queue.end();) {
      oldest = std::min(oldest, it->second->arrival);
      it = queue.upper_bound({it->first.first, std::numeric_limits<uint64_t>::max()});
    }
  }
  return oldest;
}

}  // namespace quire::scheduler
