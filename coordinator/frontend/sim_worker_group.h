// A worker group for tests of the edge: one thread in place of the ranks, with the simulation's replica as the model,
// at a pace that the test sets.
//
// Threads: the engine's calls only queue; the group's own thread computes and tells the listener. The test may call
// Hold and Release.
#ifndef QUIRE_COORDINATOR_FRONTEND_SIM_WORKER_GROUP_H_
#define QUIRE_COORDINATOR_FRONTEND_SIM_WORKER_GROUP_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/sim_replica.h"

namespace quire::frontend {

struct SimWorkerGroupOptions {
  int64_t num_blocks = 256;
  int32_t vocab_size = 257;
  int32_t max_model_len = 1024;
  absl::Duration step_time = absl::ZeroDuration();
  std::string generation_config_json;
};

class SimWorkerGroup final : public cluster::WorkerGroup {
 public:
  static constexpr int kBlockSize = 16;

  explicit SimWorkerGroup(const SimWorkerGroupOptions& options);
  ~SimWorkerGroup() override;

  // Until Release, nothing is answered.
  void Hold();
  void Release();

  void SetListener(Listener* listener) override;
  void Form(uint64_t epoch) override;
  void Send(const StepPlan& plan) override;
  void Stop() override;
  int world_size() const override { return 1; }
  uint64_t stale_replies() const override { return 0; }

 private:
  bool Awake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || (!held_ && (to_form_ != 0 || !plans_.empty()));
  }
  void Loop();

  const SimWorkerGroupOptions options_;
  Listener* listener_ = nullptr;
  absl::Mutex mutex_;
  std::deque<StepPlan> plans_ ABSL_GUARDED_BY(mutex_);
  uint64_t to_form_ ABSL_GUARDED_BY(mutex_) = 0;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<engine::SimReplica> replica_;  // the group's thread only
  std::thread thread_;
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_SIM_WORKER_GROUP_H_
