// Recent steps. See step_stats.h.
#include "coordinator/engine/step_stats.h"

#include <algorithm>

namespace quire::engine {

void StepStats::Sent(const StepPlan& plan, absl::Time now) {
  flights_[plan.step % flights_.size()] = {plan.step, now, plan.num_tokens() > 0};
}

void StepStats::Restart() {
  flights_ = {};
  last_done_ = absl::InfinitePast();
}

void StepStats::Done(const StepResult& result, absl::Time now) {
  const Flight& flight = flights_[result.step % flights_.size()];
  if (flight.step != result.step) return;
  ++total_steps_;
  if (flight.computes) {
    uint32_t slowest_us = 0;
    for (const RankUsage& rank : result.ranks) slowest_us = std::max(slowest_us, rank.exec_us);
    step_seconds_[counted_ % kWindow] = absl::ToDoubleSeconds(now - std::max(flight.sent, last_done_));
    worker_seconds_[counted_ % kWindow] = slowest_us * 1e-6;
    ++counted_;
  }
  last_done_ = now;
}

double StepStats::Median(const Window& window) const {
  const size_t n = static_cast<size_t>(std::min<uint64_t>(counted_, kWindow));
  if (n == 0) return 0;
  Window sorted = window;
  std::nth_element(sorted.begin(), sorted.begin() + n / 2, sorted.begin() + n);
  return sorted[n / 2];
}

double StepStats::Throughput(absl::Time now) {
  const int64_t second = absl::ToUnixSeconds(now);
  if (second_ == 0) second_ = second;
  for (int64_t i = 0; second_ < second && i <= kSeconds; ++i) {
    per_second_[second_ % kSeconds] = tokens_;
    tokens_ = 0;
    second_ = i == kSeconds ? second : second_ + 1;
  }
  int64_t sum = 0;
  for (int64_t n : per_second_) sum += n;
  return static_cast<double>(sum) / kSeconds;
}

}  // namespace quire::engine
