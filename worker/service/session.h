// One stream of the coordinator, from Join to its end: what the rank does with each message, in order.
//
// Thread rule: Receive and Abort on any thread (never blocking); everything else on the session's own compute thread.
// Invariants:
//   SE1  Messages are handled in the order of their coming, at most kMaxQueued wait; StorePut alone overtakes (a rank
//   that forms its group
//        waits for it).
//   SE2  Join, Load, Start, then steps 1, 2, 3, ... of the joined epoch, each with a true digest; the last step again
//   is answered from
//        the cached reply. Anything else ends the session.
//   SE3  An error before Started is sent as Failed, later ones are the stream's status. The process goes on either way.
//   SE4  A session touches the device only after the one before it has let go of it: its cache freed, its shard handed
//   to the keeper.
#ifndef QUIRE_WORKER_SERVICE_SESSION_H_
#define QUIRE_WORKER_SERVICE_SESSION_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "proto/worker.pb.h"
#include "worker/comm/communicator.h"
#include "worker/model/model.h"
#include "worker/runtime/kv_cache.h"
#include "worker/runtime/model_runner.h"
#include "worker/service/outbox.h"
#include "worker/service/session_store.h"
#include "worker/service/shard_keeper.h"

namespace quire::worker {

// What sessions share: one per process.
struct WorkerContext {
  kernels::Backend* backend = nullptr;
  int num_threads = 1;
  std::function<absl::StatusOr<std::unique_ptr<Model>>(const LoadOptions&, kernels::Backend*, Communicator*)>
      load_model;
  ShardKeeper* shards = nullptr;  // set by the service
  // Told true when a session has started, false when it ends.
  std::function<void(bool ready)> on_ready;
};

class Session final {
 public:
  static constexpr size_t kMaxQueued = 16;

  Session(const WorkerContext* context, std::shared_ptr<Outbox> outbox);
  ~Session();

  // Takes a message. `message` is emptied.
  void Receive(v1::CoordinatorMessage* message);

  // Starts the compute thread with an accepted Join; it begins when `before` (may be null) has ended.
  void Begin(const v1::Join& join, std::shared_ptr<Session> before);

  // Ends the session: collectives return, the stream closes with `status` (unless it has another one already).
  // Idempotent.
  void Abort(absl::Status status);

  // True once nothing of the session is left on the device.
  bool WaitEnded(absl::Duration timeout) { return ended_.WaitForNotificationWithTimeout(timeout); }

 private:
  struct Queued {
    v1::CoordinatorMessage message;
    absl::Time received;
  };

  void Run(std::shared_ptr<Session> before);
  bool Next(Queued* next);
  absl::Status Handle(const Queued& queued);
  absl::Status HandleLoad(const v1::Load& load);
  absl::Status FormGroup(const v1::Load& load);
  absl::Status LoadShard(const v1::Load& load);
  // The draft model, if one is asked for. `options`: those of the model.
  absl::Status LoadDraft(const v1::Load& load, LoadOptions options);
  // Keys that any layer sees at most; 0 = all.
  int32_t AttentionWindow() const;
  kernels::KvCacheLayout DraftLayout() const;
  // How many ranks, this one included, draw on the memory of its backend and on that of its host.
  struct Sharing {
    int64_t memory = 1;
    int64_t host = 1;
  };
  absl::Status PlanCache(const v1::Load& load, const Sharing& sharing);
  absl::Status HandleStart(const v1::Start& start);
  absl::Status HandleStep(const v1::Step& step, absl::Time received);
  void ReportProgress(int64_t bytes_loaded, int64_t bytes_total);
  absl::StatusOr<Sharing> CountSharing(const v1::Load& load);
  void Fail(const absl::Status& error);
  void Free();

  const WorkerContext* const context_;
  const std::shared_ptr<Outbox> outbox_;
  SessionStore store_;
  absl::Notification ended_;
  std::thread thread_;

  absl::Mutex mu_;
  std::deque<Queued> queue_ ABSL_GUARDED_BY(mu_);
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  // Set and freed under the lock by the compute thread, which alone reads it without.
  std::unique_ptr<Communicator> comm_;

  // Compute thread only.
  v1::Join join_;
  v1::Load load_;
  LoadedShard shard_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<KvCache> draft_cache_;
  std::unique_ptr<DraftProposer> proposer_;
  std::unique_ptr<ModelRunner> runner_;
  int64_t planned_blocks_ = 0;
  int64_t planned_host_blocks_ = 0;
  int32_t max_model_len_ = 0;
  uint64_t last_step_ = 0;
  v1::RankMessage last_done_;
  absl::Time last_reply_;
  absl::Time last_progress_ = absl::InfinitePast();
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SERVICE_SESSION_H_
