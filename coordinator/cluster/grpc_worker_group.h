// The ranks of one replica over gRPC streams: dialled hosts or supervised children of this process. See worker_group.h
// for the contract.
//
// Threads: the group's own thread forms epochs, watches ends and deadlines and owns children and streams; Send and the
// ranks' replies do not pass through it. The listener is called with the group's lock held, which is what makes G2
// hold: it must not call the group.
// Invariants:
//   W1  A step is encoded once; every rank's stream shares the bytes.
//   W2  All streams of an epoch are cancelled and its children ended before the next epoch starts or dials anyone
//       (fence).
//   W3  An epoch ends by the first of: child exit, stream end, Failed, contradiction, step deadline. The reason names
//       the rank; for a child it is how the process ended, if it did.
#ifndef QUIRE_COORDINATOR_CLUSTER_GRPC_WORKER_GROUP_H_
#define QUIRE_COORDINATOR_CLUSTER_GRPC_WORKER_GROUP_H_

#include <memory>
#include <string>

#include "coordinator/cluster/formation.h"
#include "coordinator/cluster/local_workers.h"
#include "coordinator/cluster/worker_addresses.h"
#include "coordinator/cluster/worker_group.h"

namespace quire::cluster {

struct GrpcWorkerGroupOptions {
  WorkerAddresses workers;
  LocalWorkerOptions local;  // used iff workers.num_local > 0, which also gives its num_workers
  FormationOptions formation;
  std::string log_prefix;  // which replica speaks, if there are several
};

class GrpcWorkerGroup final : public WorkerGroup {
 public:
  explicit GrpcWorkerGroup(const GrpcWorkerGroupOptions& options);
  ~GrpcWorkerGroup() override;  // Stop

  void SetListener(Listener* listener) override;
  void Form(uint64_t epoch) override;
  void Send(const StepPlan& plan) override;
  void Stop() override;
  int world_size() const override;
  uint64_t stale_replies() const override;

 private:
  class Impl;
  // Shared with the handlers of streams that are slow to end.
  std::shared_ptr<Impl> impl_;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_GRPC_WORKER_GROUP_H_
