// The clock, the dice and the event queue of one simulated run. Test only; single thread; a seed replays exactly.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_SIM_LOOP_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_SIM_LOOP_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace quire::engine {

class SimLoop {
 public:
  SimLoop(uint64_t seed, bool trace) : rng_(seed), trace_(trace) {}

  // --- dice ---
  int64_t Uniform(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(rng_); }
  bool Chance(double p) { return p > 0 && std::uniform_real_distribution<double>(0, 1)(rng_) < p; }
  absl::Duration Delay(double mean_ms) {
    return absl::Milliseconds(std::exponential_distribution<double>(1 / mean_ms)(rng_));
  }
  uint64_t Word() { return rng_(); }

  // --- time ---
  absl::Time now() const { return now_; }
  absl::Duration elapsed() const { return now_ - start_; }
  // What is due at the same time runs in the order of the calls.
  void At(absl::Time time, std::function<void()> what) { queue_.emplace(std::max(time, now_), std::move(what)); }
  void After(absl::Duration delay, std::function<void()> what) { At(now_ + delay, std::move(what)); }
  absl::Time next() const { return queue_.empty() ? absl::InfiniteFuture() : queue_.begin()->first; }
  void RunNext() {
    now_ = queue_.begin()->first;
    const std::function<void()> what = std::move(queue_.begin()->second);
    queue_.erase(queue_.begin());
    what();
  }
  void AdvanceTo(absl::Time time) { now_ = std::max(now_, time); }

  // --- what a replay prints ---
  bool traces() const { return trace_; }
  template <typename... Parts>
  void Trace(const Parts&... parts) const {
    if (!trace_) return;
    std::printf("%12.6f  %s\n", absl::ToDoubleSeconds(elapsed()), absl::StrCat(parts...).c_str());
  }

 private:
  std::mt19937_64 rng_;
  const bool trace_;
  const absl::Time start_ = absl::UnixEpoch() + absl::Hours(1);
  absl::Time now_ = start_;
  std::multimap<absl::Time, std::function<void()>> queue_;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_SIM_LOOP_H_
