// One Generate call: the bridge from the engine thread to gRPC.
//
// Threads: the engine thread brings news through a sink; gRPC's threads report finished writes and cancellation. Each
// takes the small lock, decides what to do next, and does it outside of the lock.
// Invariants:
//   F1  At most one write is in flight; what comes meanwhile waits in the ResponseBuilder, bounded by the output
//       itself.
//   F2  The call is finished exactly once, after the engine's OnEnd and after the last write.
//   F3  No initial metadata leave before the first message, so that a refusal is trailers-only and clients may retry
//       it.
//   F4  A client that is gone cancels its request at once.
#ifndef QUIRE_COORDINATOR_FRONTEND_GENERATE_STREAM_H_
#define QUIRE_COORDINATOR_FRONTEND_GENERATE_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/engine/engine.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/response_builder.h"
#include "proto/generate.pb.h"

namespace quire::frontend {

class GenerateStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                             public std::enable_shared_from_this<GenerateStream> {
 public:
  // Submits the request and returns the reactor of its call, which keeps itself alive until gRPC and the engine have
  // let it go.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(grpc::CallbackServerContext* context, Api* api,
                                                           Prepared prepared);

  // The reactor of a call that is refused.
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Refuse(grpc::CallbackServerContext* context,
                                                            const absl::Status& status);

  GenerateStream(grpc::CallbackServerContext* context, Api* api, ResponseOptions options);

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  class Sink;
  class Refusal;

  void OnDelta(const engine::ChoiceDelta& delta);
  void OnEnd(const absl::Status& status, const engine::RequestTiming& timing);
  // Starts the next write, or finishes the call, if it is time to.
  void Pump();

  grpc::CallbackServerContext* const context_;
  Api* const api_;
  const std::string request_id_;
  std::shared_ptr<GenerateStream> self_;  // until OnDone

  absl::Mutex mutex_;
  ResponseBuilder builder_ ABSL_GUARDED_BY(mutex_);
  v1::GenerateResponse message_ ABSL_GUARDED_BY(mutex_);
  uint64_t id_ ABSL_GUARDED_BY(mutex_) = 0;  // of the engine; 0 = it refused
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;    // a write failed: nobody listens any more
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;     // the engine said its last word
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;  // Finish was called
  absl::Status status_ ABSL_GUARDED_BY(mutex_);    // valid iff ended_
  grpc::ByteBuffer bytes_;                         // of the write in flight; whoever set writing_ owns it
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_GENERATE_STREAM_H_
