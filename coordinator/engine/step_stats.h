// What the engine remembers of recent steps for GetLoads, GetServerInfo and its log line. Engine thread only; all
// sizes fixed.
#ifndef QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_
#define QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

class StepStats {
 public:
  void Sent(const StepPlan& plan, absl::Time now);
  void Done(const StepResult& result, absl::Time now);
  void Tokens(int64_t count) { tokens_ += count; }
  // A new epoch: steps in flight are void.
  void Restart();

  uint64_t total_steps() const { return total_steps_; }
  // Of the last kWindow steps that computed something, in seconds. A step's time runs from its sending, or from the
  // reply before it if that came later (two are in flight), to its own reply.
  double StepP50() const { return Median(step_seconds_); }
  // Likewise, the slowest rank's own time.
  double WorkerP50() const { return Median(worker_seconds_); }
  // Tokens per second over the last 10 s (whole seconds).
  double Throughput(absl::Time now);

 private:
  static constexpr int kWindow = 64;
  static constexpr int kSeconds = 10;
  using Window = std::array<double, kWindow>;

  double Median(const Window& window) const;

  struct Flight {
    uint64_t step = 0;
    absl::Time sent;
    bool computes = false;
  };
  std::array<Flight, 4> flights_{};  // by step % 4; at most two are live
  absl::Time last_done_ = absl::InfinitePast();
  uint64_t total_steps_ = 0;
  uint64_t counted_ = 0;
  Window step_seconds_{};
  Window worker_seconds_{};
  int64_t tokens_ = 0;                          // since the current second began
  std::array<int64_t, kSeconds> per_second_{};  // a ring
  int64_t second_ = 0;                          // unix time of the current one
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_
