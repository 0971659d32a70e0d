// The threads of one worker: a fork-join pool with a static split, whose barrier spins briefly and then sleeps.
//
// Thread rule: one thread at a time calls Run; it takes part as thread 0. Function arguments run on all threads of the
// pool.
// Invariants:
//   T1  Which thread runs which index depends on nothing but the counts: no stealing, so that caches stay warm and
//       runs repeat.
//   T2  A thread never spins longer than kSpinMax: cores are shared with other processes, and a spinning waiter takes
//       the time of the thread it waits for. A spin that ends in sleep halves the next one's length, one that succeeds
//       doubles it.
//   T3  A pool of one thread calls the function directly: no atomics, no threads.
#ifndef QUIRE_KERNELS_CPU_THREAD_POOL_H_
#define QUIRE_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace quire::kernels::cpu {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// Part `index` of `parts` nearly equal parts of [0, count).
inline Range SplitRange(int64_t count, int64_t parts, int64_t index) {
  return {count * index / parts, count * (index + 1) / parts};
}

class ThreadPool {
 public:
  // Requires: num_threads >= 1.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls body(thread) once on every thread, 0 <= thread < num_threads(), and returns when all calls have.
  void Run(absl::FunctionRef<void(int thread)> body);

  // Splits [0, count) evenly; body(range, thread) is called for ranges that are not empty. Stays on the calling thread
  // when `serial` (work too small to wake anybody for).
  void ParallelFor(int64_t count, bool serial, absl::FunctionRef<void(Range range, int thread)> body);

 private:
  // A counter that threads wait on: spin, then futex.
  class Gate {
   public:
    uint32_t value() const { return value_.load(std::memory_order_acquire); }
    // Adds 1 and wakes sleepers.
    void Advance();
    // Waits until the value is not `old`; returns it. `spin` is the waiter's own adaptive spin length, in loop turns.
    uint32_t WaitWhile(uint32_t old, uint32_t* spin);

   private:
    std::atomic<uint32_t> value_{0};
    std::atomic<uint32_t> sleepers_{0};
  };

  void WorkerLoop(int thread);

  Gate start_;
  Gate done_;  // advanced once per Run, by the last worker to finish
  std::atomic<int> running_{0};
  std::atomic<bool> stopping_{false};
  absl::FunctionRef<void(int)>* body_ = nullptr;  // valid between start_ and done_
  uint32_t caller_spin_;
  std::vector<std::thread> threads_;
};

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_THREAD_POOL_H_
