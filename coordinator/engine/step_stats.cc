// Recent steps. See step_stats.h.
#include "coordinator/engine/step_stats.h"

#include <algorithm>

namespace quire::engine {
namespace {

// How long the figures of the last steps count as recent.
constexpr absl::Duration kRecent = absl::Seconds(9);

}  // namespace

std::vector<StepSample> StepTimeline::Get() const {
  std::vector<StepSample> samples;
  const uint64_t count = std::min<uint64_t>(last_, kMaxSteps);
  samples.reserve(count);
  for (uint64_t n = last_ - count + 1; n <= last_; ++n) samples.push_back(ring_[n % kMaxSteps]);
  return samples;
}

void StepStats::SetCosts(double weight_bytes, double kv_bytes_per_token, double flops_per_token) {
  weight_bytes_ = weight_bytes;
  kv_bytes_per_token_ = kv_bytes_per_token;
  flops_per_token_ = flops_per_token;
}

void StepStats::Sent(const StepPlan& plan, absl::Time now) {
  Flight& flight = flights_[plan.step % flights_.size()];
  flight.step = plan.step;
  flight.sent = now;
  flight.tokens = static_cast<uint32_t>(plan.num_tokens());
  flight.sequences = static_cast<uint32_t>(plan.decode.size() + plan.prefill.size());
}

void StepStats::Restart() {
  flights_ = {};
  last_done_ = absl::InfinitePast();
}

void StepStats::Done(const StepResult& result, absl::Time now) {
  const Flight& flight = flights_[result.step % flights_.size()];
  if (flight.step != result.step) return;
  ++total_steps_;
  if (flight.tokens > 0) {
    Count(flight, result, absl::ToDoubleSeconds(now - std::max(flight.sent, last_done_)));
    last_counted_ = now;
  }
  last_done_ = now;
}

void StepStats::Count(const Flight& flight, const StepResult& result, double seconds) {
  RankUsage slowest;
  for (const RankUsage& rank : result.ranks) {
    slowest.exec_us = std::max(slowest.exec_us, rank.exec_us);
    slowest.collective_us = std::max(slowest.collective_us, rank.collective_us);
    slowest.wait_us = std::max(slowest.wait_us, rank.wait_us);
    slowest.swap_us = std::max(slowest.swap_us, rank.swap_us);
  }
  Entry& entry = window_[counted_++ % kWindow];
  entry.seconds = seconds;
  entry.worker_seconds = slowest.exec_us * 1e-6;
  entry.bytes = weight_bytes_ + kv_bytes_per_token_ * static_cast<double>(live_tokens_);
  entry.flops = flops_per_token_ * flight.tokens;
  read_bytes_ += entry.bytes;
  flops_ += entry.flops;
  timeline_.Add({counted_, static_cast<float>(seconds), flight.tokens, flight.sequences});
  metrics_->total.Observe(seconds);
  metrics_->exec.Observe(slowest.exec_us * 1e-6);
  metrics_->collective.Observe(slowest.collective_us * 1e-6);
  metrics_->wait.Observe(slowest.wait_us * 1e-6);
  metrics_->swap.Observe(slowest.swap_us * 1e-6);
  metrics_->tokens.Observe(flight.tokens);
}

double StepStats::Median(double Entry::*field) const {
  const size_t n = static_cast<size_t>(std::min<uint64_t>(counted_, kWindow));
  if (n == 0) return 0;
  std::array<double, kWindow> sorted{};
  for (size_t i = 0; i < n; ++i) sorted[i] = window_[i].*field;
  std::nth_element(sorted.begin(), sorted.begin() + n / 2, sorted.begin() + n);
  return sorted[n / 2];
}

double StepStats::PerSecond(double Entry::*field, absl::Time now) const {
  if (now - last_counted_ > kRecent) return 0;
  const size_t n = static_cast<size_t>(std::min<uint64_t>(counted_, kWindow));
  double sum = 0;
  double seconds = 0;
  for (size_t i = 0; i < n; ++i) {
    sum += window_[i].*field;
    seconds += window_[i].seconds;
  }
  return seconds > 0 ? sum / seconds : 0;
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
