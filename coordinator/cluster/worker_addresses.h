// What --workers says: `local:N` (children of this process) or the ranks' addresses in rank order. Pure.
#ifndef QUIRE_COORDINATOR_CLUSTER_WORKER_ADDRESSES_H_
#define QUIRE_COORDINATOR_CLUSTER_WORKER_ADDRESSES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::cluster {

constexpr int kMaxWorkers = 64;

struct WorkerAddresses {
  int num_local = 0;                   // > 0: start so many children, `addresses` is empty
  std::vector<std::string> addresses;  // by rank: host:port, [v6]:port or unix:/path
};

// Errors: INVALID_ARGUMENT naming the entry that is wrong.
absl::StatusOr<WorkerAddresses> ParseWorkerAddresses(absl::string_view flag);

// Groups the workers in the order given into replicas of `size` ranks; 0 = one replica of all. Errors:
// INVALID_ARGUMENT with both numbers if that leaves a rest.
absl::StatusOr<std::vector<WorkerAddresses>> GroupByReplica(const WorkerAddresses& workers, int size);

// Replicas that have a worker on a host of this one's, itself included.
int NumOnSameHost(const std::vector<WorkerAddresses>& replicas, size_t replica);

// "10.0.0.2" of "10.0.0.2:7001", "::1" of "[::1]:7001"; empty for a unix socket.
std::string HostOf(absl::string_view address);

// Whether only this machine can dial the address: a unix socket, localhost, 127.0.0.0/8 or ::1.
bool IsLoopback(absl::string_view address);

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_WORKER_ADDRESSES_H_
