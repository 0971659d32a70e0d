// All replicas of the model as the edges see them: one engine for each, a router in front. Requests of a replica that is
// lost go on in another one.
//
// Thread rule: public methods are safe from any thread and never block (but Stop and WaitUntilFormed); engines call in
// on their own threads. Locks: first mu_ here, then an engine's.
// Invariants:
//   M1  A live request is in exactly one engine, or on its way into one; its sink goes with it.
//   M2  A cancel finds its request wherever it is: where it is, and whether it was cancelled, are under one lock.
//   M3  A label belongs to one live request, over all replicas.
//   M4  A request ends for the loss of its replica only if no other can take it and its own does not come back.
#ifndef QUIRE_COORDINATOR_ENGINE_REPLICAS_H_
#define QUIRE_COORDINATOR_ENGINE_REPLICAS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/engine/engine.h"

namespace quire::engine {

// One replica, for reports.
struct ReplicaReport {
  ReplicaState state;
  Loads loads;
  int num_ranks = 0;
  const metrics::StepMetrics* step_metrics = nullptr;  // as long-lived as the Replicas
  std::vector<std::string> backends;                   // by rank; empty until it has formed once
};

class Replicas {
 public:
  // Starts an engine for every group, and each begins to form. The groups must outlive this.
  // Requires: 1 <= groups.size() <= Router::kMaxReplicas.
  Replicas(const EngineOptions& options, const std::vector<cluster::WorkerGroup*>& groups);
  ~Replicas();

  // Takes over the request and its sink; returns the id to cancel it by. Errors (the sink is not called): those of
  // Engine::Submit; ALREADY_EXISTS live request_id; UNAVAILABLE no replica has formed yet, all are lost, or stopping.
  absl::StatusOr<uint64_t> Submit(request::Request request, std::unique_ptr<RequestSink> sink);

  // Ends a request by the id that Submit gave: its blocks are free before the next step. No effect after its end.
  void Cancel(uint64_t id);
  // Ends the live request with this label. Unknown labels are ignored.
  void Abort(const std::string& request_id);

  Loads GetLoads() const;  // of all replicas together; times are those of the slowest
  std::vector<ReplicaReport> GetReports() const;
  // The last steps of one, oldest first. Requires: replica < GetReports().size().
  std::vector<StepSample> GetTimeline(int replica) const;
  // Likewise, what its blocks are in use for (Engine::GetBlockMap).
  BlockMap GetBlockMap(int replica);

  // A replica that has formed; UNAVAILABLE while there is none, FAILED_PRECONDITION if all gave up (with a reason).
  absl::Status GetReplica(ReplicaInfo* info, cluster::ReplicaDescription* description) const;
  // Blocks until one replica has formed or all have failed.
  absl::Status WaitUntilFormed(absl::Duration timeout);
  // Forward progress of at least one replica.
  bool Ready() const;

  // Refuses new requests, ends the running ones with UNAVAILABLE after `grace`, joins the engines' threads. Idempotent.
  void Stop(absl::Duration grace);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_REPLICAS_H_
