// Where the group's own thread sleeps: news of the ranks of one epoch, an interruption (a new epoch, a stop), or a
// time.
//
// Thread rule: Post, Interrupt and WakeBy from any thread; Open and Next by the group's thread.
// Invariants:
//   M1  Next returns only news of the epoch that was opened last.
//   M2  At most kMaxWaiting items wait; Post tells when there is no room.
//   M3  An interruption is kept until Open: no Next in between waits.
#ifndef QUIRE_COORDINATOR_CLUSTER_RANK_MAILBOX_H_
#define QUIRE_COORDINATOR_CLUSTER_RANK_MAILBOX_H_

#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quire::worker::v1 {
class RankMessage;
}

namespace quire::cluster {

struct RankNews {
  enum class Kind { kMessage, kEnded, kTimeout, kInterrupted };
  Kind kind = Kind::kTimeout;
  uint64_t epoch = 0;
  int rank = -1;
  std::shared_ptr<worker::v1::RankMessage> message;  // kMessage
  absl::Status status;                               // kEnded: why the stream or the process ended; may be OK
};

class RankMailbox {
 public:
  static constexpr size_t kMaxWaiting = 65536;

  // False if the box is full. News of another epoch than the open one are dropped.
  bool Post(RankNews news);

  // Ends the current Next, and every later one until Open.
  void Interrupt();

  // Makes the Next that sleeps, or the one that comes, return kTimeout by `time`. Cheap if an earlier wake-up is due.
  void WakeBy(absl::Time time);

  // Empties the box and takes news of `epoch` only; forgets interruptions.
  void Open(uint64_t epoch);

  // The next news, kInterrupted, or kTimeout at `deadline`.
  RankNews Next(absl::Time deadline);

 private:
  absl::Mutex mu_;
  absl::CondVar changed_;
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  bool interrupted_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time wake_by_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  std::deque<RankNews> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_RANK_MAILBOX_H_
