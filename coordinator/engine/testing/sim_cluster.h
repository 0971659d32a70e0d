// The ranks of one replica, their streams and the group in front of them, on virtual time. The group judges answers
// with the real cluster::StepCollector; around it stands what grpc_worker_group.cc does with threads and gRPC: epochs,
// fences, step deadlines. Test only; single thread.
//
// What may happen here may happen over gRPC: inside one stream messages arrive in order; streams break, ranks die with
// or without a sign, hang and answer after their epoch, answer twice, answer for other steps or as other ranks, and
// differ in their digests. The invariants G1 to G3 of cluster/worker_group.h hold towards the core.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLUSTER_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLUSTER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "coordinator/cluster/step_collector.h"
#include "coordinator/engine/core.h"
#include "coordinator/engine/sim_replica.h"
#include "coordinator/engine/testing/sim_loop.h"
#include "coordinator/engine/testing/sim_requests.h"

namespace quire::engine {

struct SimClusterOptions {
  int world_size = 1;
  SimModel model;
  scheduler::SchedulerOptions limits;  // that plans must keep
  double step_ms = 10;                 // mean time of a small step
  double network_ms = 0.3;             // mean one-way delay
  double rank_fault = 0;               // chance per step and rank
  double bad_reply = 0;                // chance per reply
  double formation_fault = 0;          // chance per formation after the first
  int faults_left = 0;                 // bounds all of them
  bool never_forms = false;
};

struct SimClusterStats {
  int64_t steps = 0, tokens = 0, forks = 0, copies = 0, epochs = 0, losses = 0, dropped = 0;
};

class SimCluster {
 public:
  using Inbox = std::function<void(Event event)>;

  SimCluster(const SimClusterOptions& options, SimLoop* loop, Inbox inbox);

  // As cluster::WorkerGroup.
  void Form(uint64_t epoch);
  void Send(const StepPlan& plan);

  // When the oldest step in flight is late; CheckDeadline then ends the epoch.
  absl::Time NextDeadline() const;
  void CheckDeadline();

  // A sequence with this seed belongs to a tenant; one that is poisonous kills the rank that computes it.
  void AddSequenceSeed(uint64_t seed, uint64_t salt, bool poison);

  // CHECK-fails if a rank of a formed replica still holds something.
  void CheckIdle() const;
  const SimClusterStats& stats() const { return stats_; }
  int64_t num_blocks() const { return options_.model.num_blocks; }

 private:
  enum class State { kDown, kForming, kFormed };
  struct Stream {
    uint64_t epoch = 0;
    int rank = 0;
    absl::Time down_at, up_at;  // the last message in each direction arrives then
  };
  using StreamPtr = std::shared_ptr<Stream>;
  struct Rank {
    uint64_t epoch = 0;
    bool dead = false;
    absl::Time free_at;
    std::unique_ptr<SimReplica> replica;
    cluster::RankReply last;
  };
  struct Deadline {
    uint64_t step = 0;
    absl::Time time;
  };
  struct SentPlan {
    StepPlan plan;
    uint64_t digest = 0;
    absl::Time deadline;
  };
  using PlanPtr = std::shared_ptr<const SentPlan>;

  void Formed(uint64_t epoch);
  void Down(uint64_t epoch, const absl::Status& reason);
  void CheckPlan(const StepPlan& plan) const;
  void Receive(const StreamPtr& stream, const PlanPtr& sent);
  bool Dies(const StreamPtr& stream, const SentPlan& sent);
  bool ComputesPoison(const StepPlan& plan);
  void Answer(const StreamPtr& stream, absl::Time at, cluster::RankReply reply);
  void SpoilAndAnswer(const StreamPtr& stream, absl::Time at, const cluster::RankReply& reply);
  void HandleDone(const StreamPtr& stream, cluster::RankReply reply);
  void RepeatOldResult(const StepPlan& plan);
  bool TakeFault(double chance);

  SimClusterOptions options_;
  SimLoop* const loop_;
  const Inbox inbox_;
  State state_ = State::kDown;
  uint64_t epoch_ = 0;
  cluster::StepCollector collector_;
  std::deque<Deadline> deadlines_;
  std::vector<StreamPtr> streams_;
  std::vector<Rank> ranks_;
  std::unordered_map<uint64_t, uint64_t> salts_;  // by sampling seed
  std::unordered_set<uint64_t> poison_;
  std::unordered_map<uint32_t, uint64_t> seed_of_seq_;  // of the running epoch
  std::vector<StepResult> results_, old_results_;       // of this epoch and of the last one, by step
  SimClusterStats stats_;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CLUSTER_H_
