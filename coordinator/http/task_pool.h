// A few threads for work that takes longer than a thread that serves sockets may be away: large bodies are parsed and
// tokenized here.
//
// Thread-safe.
// Invariants:
//   T1  At most `queue_max` tasks wait; a full queue is an answer, not a wait.
//   T2  Every task that was taken runs, but for those that still wait when Stop comes: they are destroyed.
#ifndef QUIRE_COORDINATOR_HTTP_TASK_POOL_H_
#define QUIRE_COORDINATOR_HTTP_TASK_POOL_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quire::http {

class TaskPool {
 public:
  TaskPool(int num_threads, size_t queue_max);
  ~TaskPool();  // Stop

  // False: the queue is full, or stopped; `task` is untouched.
  bool Run(std::function<void()>* task);

  // Waits for the running tasks. Idempotent.
  void Stop();

 private:
  void Work();
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !tasks_.empty(); }

  const size_t queue_max_;
  absl::Mutex mutex_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_TASK_POOL_H_
