// A rank for tests: a gRPC server in this process that follows a script instead of computing.
//
// Threads: gRPC's run the sessions; what was received is under a lock.
#ifndef QUIRE_COORDINATOR_CLUSTER_SCRIPTED_WORKER_H_
#define QUIRE_COORDINATOR_CLUSTER_SCRIPTED_WORKER_H_

#include <grpcpp/server.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/scheduler/step_plan.h"
#include "proto/protocol.h"
#include "proto/worker.grpc.pb.h"

namespace quire::cluster {

// The answer to a step as a correct rank gives it: token i of step s is 100 s + i, one per decode item.
worker::v1::RankMessage CorrectDone(const worker::v1::Step& step, uint32_t rank);

// The plan that a step carries: what StepEncoder::Encode was given.
StepPlan PlanOf(const worker::v1::Step& step);

class ScriptedWorker final : public worker::v1::Worker::Service {
 public:
  using Stream = grpc::ServerReaderWriter<worker::v1::RankMessage, worker::v1::CoordinatorMessage>;
  enum class Then { kContinue, kEndSession };

  struct Script {
    uint32_t protocol_version = proto::kProtocolVersion;
    std::string host_id = "host-a";
    std::string backend = "cpu/test";
    bool answers_join = true;
    bool answers_load = true;
    uint32_t load_error = 0;                                // absl::StatusCode of Failed
    std::vector<std::pair<std::string, std::string>> puts;  // sent while loading
    size_t expect_puts = 0;                                 // loaded only when so many came in
    worker::v1::Loaded loaded;
    // What to do with a step; null = CorrectDone.
    std::function<Then(const worker::v1::Step& step, uint32_t rank, Stream* stream)> on_step;
  };

  // A script with a small model and 1000 device blocks.
  static Script DefaultScript();

  // Listens on a free port of the loopback address.
  explicit ScriptedWorker(Script script);
  ~ScriptedWorker() override;

  const std::string& address() const { return address_; }
  // For the sessions that start from now on.
  void SetScript(Script script);
  std::vector<worker::v1::CoordinatorMessage> received() const;
  int num_sessions() const;
  // Waits until every session has ended.
  bool WaitIdle(absl::Duration timeout);

  grpc::Status Session(grpc::ServerContext* context, Stream* stream) override;

 private:
  bool SendLoaded(const Script& script, Stream* stream);

  mutable absl::Mutex mu_;
  Script script_ ABSL_GUARDED_BY(mu_);
  std::vector<worker::v1::CoordinatorMessage> received_ ABSL_GUARDED_BY(mu_);
  int num_sessions_ ABSL_GUARDED_BY(mu_) = 0;
  int num_running_ ABSL_GUARDED_BY(mu_) = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_SCRIPTED_WORKER_H_
