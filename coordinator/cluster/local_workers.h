// The workers of --workers=local:N: children of this process, one per rank, each on a unix socket in a private
// directory, watched until they are reaped.
//
// Thread rule: Start, Stop and the destructor on one thread that outlives the children (with --die_with_parent the
// kernel ends a child when the thread that started it ends); on_exit runs on a thread per child.
// Invariants:
//   L1  A child's exit is seen at once (a thread waits for it) and reported once; after Stop returned nothing is
//       reported.
//   L2  After Stop no child, zombie or temporary file is left.
//   L3  A signal goes only to a child that is not reaped yet, never to a process that inherited its number.
#ifndef QUIRE_COORDINATOR_CLUSTER_LOCAL_WORKERS_H_
#define QUIRE_COORDINATOR_CLUSTER_LOCAL_WORKERS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace quire::cluster {

struct LocalWorkerOptions {
  std::string binary;  // empty: FindWorkerBinary()
  int num_workers = 1;
  int num_on_host = 0;                  // workers of all replicas; 0 = num_workers
  int num_threads = 0;                  // of each; 0 = max(1, cores / num_on_host)
  std::string device;                   // --device of each; empty or "cpu": not said; "cuda": rank N has cuda:N
  std::string log_prefix;               // which replica speaks
  std::vector<std::string> extra_args;  // after ours
};

// The worker binary beside this one: ../worker/worker, in the runfiles, or quire-worker in the same directory.
// Errors: NOT_FOUND with the places that were tried.
absl::StatusOr<std::string> FindWorkerBinary();

class LocalWorkers {
 public:
  struct Exit {
    int rank = -1;
    absl::Status how;  // UNAVAILABLE with pid and signal or exit code
  };
  using OnExit = std::function<void(const Exit&)>;

  // Starts all children. Errors: INTERNAL or NOT_FOUND naming the binary; nothing is left running then.
  static absl::StatusOr<std::unique_ptr<LocalWorkers>> Start(const LocalWorkerOptions& options, OnExit on_exit);
  ~LocalWorkers();  // Stop(0)

  // By rank: "unix:<private directory>/rank<r>.sock".
  const std::vector<std::string>& addresses() const { return addresses_; }
  pid_t pid(int rank) const { return children_[rank]->pid; }

  // The child that exited first, if one did; waits for that at most `wait`.
  std::optional<Exit> FirstExit(absl::Duration wait);

  // Removes the sockets' directory, for when every rank is connected: nothing is left behind then, however this
  // process ends.
  void RemoveSockets();

  // SIGTERM, then SIGKILL to those that are still there after `grace`; reaps all and removes the directory. Idempotent.
  void Stop(absl::Duration grace);

 private:
  struct Child {
    pid_t pid = -1;
    bool reaped = false;
    std::thread watcher;
  };

  explicit LocalWorkers(OnExit on_exit) : on_exit_(std::move(on_exit)) {}
  absl::Status Spawn(const LocalWorkerOptions& options, const std::string& binary, int rank);
  void Watch(int rank, Child* child);
  void Signal(int signal);
  bool AllReaped() const ABSL_SHARED_LOCKS_REQUIRED(mu_);

  const OnExit on_exit_;
  std::string directory_;
  std::vector<std::string> addresses_;
  std::vector<std::unique_ptr<Child>> children_;  // fixed after Start; `reaped` is guarded by mu_
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<Exit> first_exit_ ABSL_GUARDED_BY(mu_);
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_LOCAL_WORKERS_H_
