// The engine of one replica: one thread that owns the core (core.h), feeds it events and carries out its actions. Edges
// talk to all engines together (replicas.h).
//
// Thread rule: public methods are safe from any thread and never block (but Stop); sinks are called on the engine
// thread and must not block or call back into the engine.
// Invariants:
//   E1  Every submitted request gets exactly one OnEnd, after which its sink is never called again and is released; from
//       this engine or from the one that the request moved to.
//   E2  Deltas of a choice come in order without gaps; a committed token never changes.
//   E3  The inbox is bounded as the queue is (admission.h): at `max_queue_len` requests, `max_queue_tokens` or
//       `max_queue_bytes` Submit is refused with RESOURCE_EXHAUSTED; cancels and results always fit.
#ifndef QUIRE_COORDINATOR_ENGINE_ENGINE_H_
#define QUIRE_COORDINATOR_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/cluster/worker_group.h"
#include "coordinator/engine/block_map.h"
#include "coordinator/engine/loads.h"
#include "coordinator/engine/moved_group.h"
#include "coordinator/engine/output.h"
#include "coordinator/metrics/step_metrics.h"
#include "coordinator/request/request.h"
#include "coordinator/scheduler/policy.h"
#include "coordinator/scheduler/step_plan.h"
#include "coordinator/spec/drafter.h"

namespace quire::engine {

// Where a request's output goes. Owned by the engine from Submit to OnEnd.
class RequestSink {
 public:
  virtual ~RequestSink() = default;
  virtual void OnDelta(const ChoiceDelta& delta) = 0;
  // OK after all choices finished; else why the request ended early (CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE, ...).
  virtual void OnEnd(const absl::Status& status, const RequestTiming& timing) = 0;
};

// What others need to know of a replica to choose among several.
struct ReplicaState {
  bool formed = false;
  bool failed = false;      // gave up forming
  bool has_formed = false;  // at some time: it can take requests, if only to let them wait
  uint64_t epoch = 0;       // the last one begun
  int64_t num_blocks = 0;   // when it last formed
  int32_t block_size = 16;  // tokens

  bool operator==(const ReplicaState& other) const {
    return formed == other.formed && failed == other.failed && has_formed == other.has_formed && epoch == other.epoch &&
           num_blocks == other.num_blocks;
  }
};

// A request on its way from a lost replica to another one.
struct MovedRequest {
  MovedGroup moved;
  std::unique_ptr<RequestSink> sink;
};

// The other replicas of the same model, as one engine sees them. Called on the engine's thread, without its locks.
class Siblings {
 public:
  virtual ~Siblings() = default;
  virtual void OnState(const ReplicaState& state) = 0;
  // The most blocks that another replica has which is formed or, with `any`, may form again; 0 = there is none.
  virtual int64_t RoomElsewhere(bool any) = 0;
  // Gives the request to another replica; leaves it as it is if there is none any more.
  virtual void Move(MovedRequest* request, bool any) = 0;
};

struct EngineOptions {
  std::string log_prefix;  // which replica speaks, if there are several
  int num_replicas = 1;
  Siblings* siblings = nullptr;  // outlives the engine; null = it is the only one
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  int64_t target_step_ms = -1;              // 0 = none, -1 = by the time of the decodes; see scheduler/prefill_budget.h
  int64_t preempt_every_steps = 0;          // testing aid; see scheduler.h
  int64_t max_preemptions_per_request = 8;  // for want of blocks; see scheduler/preemption.h
  int64_t max_queue_len = 1024;             // waiting requests
  int64_t max_queue_tokens = 1 << 20;       // of their prompts
  int64_t max_queue_bytes = 256 << 20;      // of memory that they take
  bool enable_prefix_caching = true;
  scheduler::Policy scheduling_policy = scheduler::Policy::kFcfs;
  scheduler::PreemptionMode preemption_mode = scheduler::PreemptionMode::kAuto;
  int64_t max_logit_rows = 0;  // of one step, drafts included; 0 = max_num_seqs
  spec::SpecOptions spec;
  absl::Duration min_step_deadline = absl::Seconds(30);  // a step may take max(this, 8 x predicted)
  int max_form_attempts = 20;  // consecutive failures before the engine gives up on a replica that has worked
  absl::Duration stats_interval = absl::Seconds(10);  // between log lines while busy
};

class Engine {
 public:
  // Starts the thread and begins to form epoch 1. The group must outlive the engine.
  Engine(const EngineOptions& options, cluster::WorkerGroup* group);
  ~Engine();

  // Takes over the request and its sink. Ids ascend over all replicas. Everything that can be refused for its content
  // was refused before (frontend/validate). Errors (the sink is not called): RESOURCE_EXHAUSTED too many
  // arrive at once; UNAVAILABLE not formed yet or stopping. Through OnEnd: RESOURCE_EXHAUSTED queue full;
  // ALREADY_EXISTS live request_id; INVALID_ARGUMENT what can never fit the cache.
  absl::Status Submit(uint64_t id, request::Request request, std::unique_ptr<RequestSink> sink);

  // Takes a request of a lost replica, which goes on from its committed tokens. Requires: state().has_formed, not
  // stopped.
  void Adopt(MovedRequest request);

  // Ends a request by its id: its blocks are free before the next step. No effect after its end.
  void Cancel(uint64_t id);

  // Another replica's state changed: look again whether it can help.
  void Poke();

  Loads GetLoads() const;
  // The last steps, oldest first.
  std::vector<StepSample> GetTimeline() const;
  // What its blocks are in use for, as of the last look or not long before; empty at the first.
  BlockMap GetBlockMap();
  // Observed while the engine runs; as long-lived as it.
  const metrics::StepMetrics& step_metrics() const;

  // The replica, once formed; UNAVAILABLE before, FAILED_PRECONDITION if it gave up (with the last reason).
  absl::Status GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const;
  // Blocks until the first formation or its failure.
  absl::Status WaitUntilFormed(absl::Duration timeout);

  // Forward progress: formed, and either idle or a step finished within the last 2 s (or within the running step's
  // deadline).
  bool Ready() const;

  // Refuses new requests, ends the running ones with UNAVAILABLE after `grace`, joins the thread. Idempotent.
  void Stop(absl::Duration grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_ENGINE_H_
