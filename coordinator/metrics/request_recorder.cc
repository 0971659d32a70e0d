#include "coordinator/metrics/request_recorder.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace quire::metrics {
namespace {

double Seconds(int64_t nanos) { return static_cast<double>(nanos) * 1e-9; }

}  // namespace

RequestRecorder::RequestRecorder(Metrics* metrics, const RequestShape& shape)
    : metrics_(metrics), shape_(shape), choices_(std::max({shape.n, shape.num_drawn, uint32_t{1}})) {}

void RequestRecorder::OnTokens(uint32_t choice, int64_t num_tokens, int64_t cached_tokens) {
  if (num_tokens == 0) return;
  cached_tokens_ = cached_tokens;
  const int64_t now = MonotonicNanos();
  if (first_ == 0) {
    first_ = now;
    const double seconds = Seconds(now - shape_.arrival);
    metrics_->first_token_.Observe(seconds);
    metrics_->recent_first_token_.Add(now, seconds);
  }
  if (choice >= choices_.size()) return;
  Choice& c = choices_[choice];
  if (c.last != 0) metrics_->inter_token_.Observe(Seconds(now - c.last));
  c.last = now;
  c.tokens += num_tokens;
}

void RequestRecorder::OnChoiceEnd(Finish finish) {
  ++num_ended_;
  metrics_->finished_[static_cast<size_t>(finish)].fetch_add(1, std::memory_order_relaxed);
}

void RequestRecorder::OnEnd(const absl::Status& status, const RequestPhases& phases) {
  const bool cancelled = absl::IsCancelled(status);
  if (cancelled) {
    for (; num_ended_ < choices_.size(); ++num_ended_) {
      metrics_->finished_[static_cast<size_t>(Finish::kAbort)].fetch_add(1, std::memory_order_relaxed);
    }
  } else if (!status.ok()) {
    // What never ran was refused, only later than others.
    if (first_ == 0) return metrics_->CountRejected(status);
    metrics_->failed_.Count(absl::AsciiStrToLower(absl::StatusCodeToString(status.code())));
  }
  ObserveAll(phases, MonotonicNanos());
}

void RequestRecorder::ObserveAll(const RequestPhases& phases, int64_t now) {
  metrics_->whole_.Observe(Seconds(now - shape_.arrival));
  metrics_->queue_.Observe(absl::ToDoubleSeconds(phases.queue));
  metrics_->prompt_tokens_.Observe(static_cast<double>(shape_.prompt_tokens));
  metrics_->asked_choices_.Observe(shape_.n);
  metrics_->asked_tokens_.Observe(shape_.max_tokens);
  if (first_ == 0) return;
  const double decode = absl::ToDoubleSeconds(phases.decode);
  metrics_->prefill_.Observe(absl::ToDoubleSeconds(phases.prefill));
  metrics_->decode_.Observe(decode);
  metrics_->inference_.Observe(absl::ToDoubleSeconds(phases.prefill) + decode);
  metrics_->cached_tokens_.Observe(static_cast<double>(cached_tokens_));
  int64_t most = 0;
  for (const Choice& c : choices_) {
    metrics_->generation_tokens_.Observe(static_cast<double>(c.tokens));
    most = std::max(most, c.tokens);
  }
  metrics_->most_generation_tokens_.Observe(static_cast<double>(most));
  if (most < 2) return;
  const double per_token = decode / static_cast<double>(most - 1);
  metrics_->per_output_token_.Observe(per_token);
  metrics_->recent_token_.Add(now, per_token);
}

}  // namespace quire::metrics
