// How the mailbox waits: see the header for what it promises.
#include "coordinator/cluster/rank_mailbox.h"

#include <algorithm>
#include <utility>

#include "proto/worker.pb.h"

namespace quire::cluster {

bool RankMailbox::Post(RankNews news) {
  absl::MutexLock lock(&mu_);
  if (news.epoch != epoch_) return true;
  if (waiting_.size() >= kMaxWaiting) return false;
  waiting_.push_back(std::move(news));
  changed_.Signal();
  return true;
}

void RankMailbox::Interrupt() {
  absl::MutexLock lock(&mu_);
  interrupted_ = true;
  changed_.Signal();
}

void RankMailbox::WakeBy(absl::Time time) {
  absl::MutexLock lock(&mu_);
  if (time >= wake_by_) return;
  wake_by_ = time;
  changed_.Signal();
}

void RankMailbox::Open(uint64_t epoch) {
  absl::MutexLock lock(&mu_);
  epoch_ = epoch;
  interrupted_ = false;
  waiting_.clear();
}

RankNews RankMailbox::Next(absl::Time deadline) {
  absl::MutexLock lock(&mu_);
  RankNews news;
  while (!interrupted_ && waiting_.empty()) {
    // wake_by_ may come closer while this waits.
    const absl::Time until = std::min(deadline, wake_by_);
    if (changed_.WaitWithDeadline(&mu_, until) && until == std::min(deadline, wake_by_)) {
      wake_by_ = absl::InfiniteFuture();
      return news;
    }
  }
  if (interrupted_) {
    news.kind = RankNews::Kind::kInterrupted;
  } else {
    news = std::move(waiting_.front());
    waiting_.pop_front();
  }
  return news;
}

}  // namespace quire::cluster
