// The ranks of one replica as the engine sees them. Production: GrpcWorkerGroup; tests: a fake whose model is a hash.
//
// Thread rule: the engine thread calls Form, Send and Stop; the group calls the Listener from threads of its own (the
// listener only queues).
// Invariants:
//   G1  Nothing blocks: every call returns at once, results come through the listener.
//   G2  After Form(e) exactly one of OnFormed(e) or OnDown(e) follows; after OnFormed(e) at most one OnDown(e);
//       nothing of an epoch < e reaches the listener after Form(e) returned, except what was already queued (the
//       engine drops it by its epoch).
//   G3  OnStepDone comes once per step sent, in step order, only when every rank answered with the expected epoch,
//       step and digest.
#ifndef QUIRE_COORDINATOR_CLUSTER_WORKER_GROUP_H_
#define QUIRE_COORDINATOR_CLUSTER_WORKER_GROUP_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::cluster {

// Facts for GetModelInfo and GetServerInfo; not used by any decision.
struct ReplicaDescription {
  std::string model_type;
  std::vector<std::string> architectures;
  std::string dtype;
  std::string collective;             // single | shm | gloo
  std::vector<std::string> backends;  // by rank
  uint64_t weight_bytes = 0;          // all ranks
  uint64_t kv_bytes_per_token = 0;    // all ranks
  double flops_per_token = 0;         // all ranks
  int32_t bos_token_id = -1;          // -1 = none
  std::string generation_config_json;
  double zero_share = -1;  // of the matrices of all ranks; -1 = unknown
  double load_seconds = 0;
};

class WorkerGroup {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void OnFormed(const ReplicaInfo& info, const ReplicaDescription& description) = 0;
    virtual void OnStepDone(StepResult result) = 0;
    // A rank died, hung past its deadline, disagreed, or the replica could not form. The epoch is over.
    virtual void OnDown(uint64_t epoch, absl::Status reason) = 0;
  };

  virtual ~WorkerGroup() = default;

  // Whom to tell. Requires: once, before the first Form; the listener outlives Stop and calls nothing of the group's
  // from its methods.
  virtual void SetListener(Listener* listener) = 0;

  // Fences older epochs and forms `epoch`: starts or dials the ranks, loads, plans memory. Requires: epochs ascend.
  virtual void Form(uint64_t epoch) = 0;

  // Sends one step to every rank. Requires: the epoch is formed; steps ascend by one from 1; at most two unanswered. A
  // send to a replica that is down is dropped (OnDown tells).
  virtual void Send(const StepPlan& plan) = 0;

  // Ends the replica: local children exit, remote ranks are let go. Blocks for at most a few seconds; no listener call
  // afterwards.
  virtual void Stop() = 0;

  virtual int world_size() const = 0;
  // Replies dropped because of a stale epoch, an unexpected step or a wrong digest. Any thread, takes no lock.
  virtual uint64_t stale_replies() const = 0;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_WORKER_GROUP_H_
