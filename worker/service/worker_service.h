// The gRPC service of a rank: accepts streams, keeps one session at a time, fences older ones.
//
// Thread rule: any thread.
// Invariants:
//   WS1  At most one session is live. A Join with a newer epoch ends it (ABORTED, its collectives return); an older or
//   equal epoch is refused
//        with both numbers (FAILED_PRECONDITION) and changes nothing.
//   WS2  Epochs only ascend over the life of the process, whatever becomes of the sessions.
#ifndef QUIRE_WORKER_SERVICE_WORKER_SERVICE_H_
#define QUIRE_WORKER_SERVICE_WORKER_SERVICE_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/worker.grpc.pb.h"
#include "worker/service/session.h"

namespace quire::worker {

class WorkerService final : public v1::Worker::CallbackService {
 public:
  explicit WorkerService(WorkerContext context) : context_(std::move(context)) { context_.shards = &shards_; }
  ~WorkerService() override { Shutdown(); }

  grpc::ServerBidiReactor<v1::CoordinatorMessage, v1::RankMessage>* Session(
      grpc::CallbackServerContext* context) override;

  // Ends the live session (UNAVAILABLE) and waits until it has let go of the device; later Joins are refused.
  void Shutdown();

 private:
  friend class SessionReactor;

  // Makes `session` the live one. Errors: FAILED_PRECONDITION protocol version or epoch; INVALID_ARGUMENT rank;
  // UNAVAILABLE shutting down.
  absl::Status Admit(const v1::Join& join, const std::shared_ptr<worker::Session>& session);

  ShardKeeper shards_;
  WorkerContext context_;  // fixed after construction
  absl::Mutex mu_;
  std::shared_ptr<worker::Session> current_ ABSL_GUARDED_BY(mu_);
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SERVICE_WORKER_SERVICE_H_
