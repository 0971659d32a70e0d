// What the engine remembers of recent steps for GetLoads, GetServerInfo, the status page and its log line. Engine thread
// only; all sizes fixed.
//
// How much a step uses of its devices: it reads at least the weights and every live slot of the KV cache once, and
// computes at least the matrix products of its tokens. Both by the step's time are floors of what the devices did;
// by their peak they are MBU and MFU.
#ifndef QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_
#define QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/engine/loads.h"
#include "coordinator/metrics/step_metrics.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

// The last steps that computed something.
class StepTimeline {
 public:
  static constexpr size_t kMaxSteps = 120;

  void Add(const StepSample& sample) { ring_[sample.number % kMaxSteps] = sample, last_ = sample.number; }
  std::vector<StepSample> Get() const;  // oldest first

 private:
  std::array<StepSample, kMaxSteps> ring_{};  // by number; numbers from 1, without gaps
  uint64_t last_ = 0;
};

class StepStats {
 public:
  // `metrics` outlives this.
  explicit StepStats(metrics::StepMetrics* metrics) : metrics_(metrics) {}

  void Sent(const StepPlan& plan, absl::Time now);
  void Done(const StepResult& result, absl::Time now);
  void Tokens(int64_t count) { tokens_ += count; }
  // A new epoch: steps in flight are void.
  void Restart();
  // Of all ranks together: bytes of the weights that a step reads, bytes of a slot, operations of a token.
  void SetCosts(double weight_bytes, double kv_bytes_per_token, double flops_per_token);
  // Slots that hold a token, as of now.
  void SetLiveTokens(int64_t tokens) { live_tokens_ = tokens; }

  uint64_t total_steps() const { return total_steps_; }
  // Of the last kWindow steps that computed something, in seconds. A step's time runs from its sending, or from the
  // reply before it if that came later (two are in flight), to its own reply.
  double StepP50() const { return Median(&Entry::seconds); }
  // Likewise, the slowest rank's own time.
  double WorkerP50() const { return Median(&Entry::worker_seconds); }
  // Of the last kWindow steps, by their own time: nothing between them counts. 0 when the last one is long ago.
  double ReadBytesPerSecond(absl::Time now) const { return PerSecond(&Entry::bytes, now); }
  double FlopsPerSecond(absl::Time now) const { return PerSecond(&Entry::flops, now); }
  double read_bytes() const { return read_bytes_; }  // since the start
  double flops() const { return flops_; }
  const StepTimeline& timeline() const { return timeline_; }
  // Tokens per second over the last 10 s (whole seconds).
  double Throughput(absl::Time now);

 private:
  static constexpr int kWindow = 64;
  static constexpr int kSeconds = 10;
  struct Flight {
    uint64_t step = 0;
    absl::Time sent;
    uint32_t tokens = 0;
    uint32_t sequences = 0;
  };
  struct Entry {
    double seconds = 0;
    double worker_seconds = 0;
    double bytes = 0;
    double flops = 0;
  };

  double Median(double Entry::*field) const;
  double PerSecond(double Entry::*field, absl::Time now) const;
  void Count(const Flight& flight, const StepResult& result, double seconds);

  metrics::StepMetrics* const metrics_;
  std::array<Flight, 4> flights_{};  // by step % 4; at most two are live
  absl::Time last_done_ = absl::InfinitePast();
  absl::Time last_counted_ = absl::InfinitePast();
  uint64_t total_steps_ = 0;
  uint64_t counted_ = 0;
  std::array<Entry, kWindow> window_{};  // a ring
  StepTimeline timeline_;
  double weight_bytes_ = 0;
  double kv_bytes_per_token_ = 0;
  double flops_per_token_ = 0;
  int64_t live_tokens_ = 0;
  double read_bytes_ = 0;
  double flops_ = 0;
  int64_t tokens_ = 0;                          // since the current second began
  std::array<int64_t, kSeconds> per_second_{};  // a ring
  int64_t second_ = 0;                          // unix time of the current one
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_STEP_STATS_H_
