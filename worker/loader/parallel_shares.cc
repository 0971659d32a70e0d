#include "worker/loader/parallel_shares.h"

#include <sched.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace quire::worker {

void ForShares(int64_t count, int64_t item_elements, absl::FunctionRef<void(int64_t begin, int64_t end)> body) {
  constexpr int64_t kThreadsMax = 16, kElementsPerThread = 1 << 18;
  if (count == 0) return;
  cpu_set_t cpus;
  const int64_t num_cpus = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
  const int64_t enough = std::max<int64_t>(count * item_elements / kElementsPerThread, 1);
  const int64_t num_threads = std::min({enough, std::max<int64_t>(num_cpus, 1), kThreadsMax, count});
  const auto share = [&](int64_t thread) { body(count * thread / num_threads, count * (thread + 1) / num_threads); };
  std::vector<std::thread> threads;
  for (int64_t thread = 1; thread < num_threads; ++thread) threads.emplace_back(share, thread);
  share(0);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace quire::worker
