// See admission.h.
#include "coordinator/engine/admission.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace quire::engine {
namespace {

constexpr double kMemorySeconds = 30;
constexpr double kLeastSeconds = 0.1;  // of waiting, before a rate is believed
constexpr absl::Duration kLeastRetry = absl::Milliseconds(100);
constexpr absl::Duration kMostRetry = absl::Seconds(60);
constexpr absl::Duration kUnknownRetry = absl::Seconds(1);

absl::Status Full(const char* what, const char* flag, int64_t waiting, int64_t incoming, int64_t limit,
                  absl::Duration retry_after) {
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("the queue is full: ", waiting, " ", what, " wait and this request adds ", incoming,
                   ", the limit --", flag, " is ", limit, "; try again in ", absl::FormatDuration(retry_after)));
  status.SetPayload(kRetryAfterPayload, absl::Cord(absl::StrCat(absl::ToInt64Milliseconds(retry_after))));
  return status;
}

}  // namespace

int64_t RequestBytes(const request::Request& request) {
  const request::SamplingParams& p = request.params;
  size_t bytes = sizeof(request) + request.request_id.size() + request.tenant.size() +
                 request.prompt_ids.size() * sizeof(request.prompt_ids[0]) +
                 p.stop_token_ids.size() * sizeof(p.stop_token_ids[0]) + p.logit_bias.size() * sizeof(p.logit_bias[0]);
  for (const std::string& stop : p.stop) bytes += sizeof(stop) + stop.size();
  return static_cast<int64_t>(bytes);
}

absl::Status CheckQueue(const QueueSize& limits, const QueueSize& waiting, const QueueSize& incoming,
                        absl::Duration retry_after) {
  const struct {
    const char* what;
    const char* flag;
    int64_t QueueSize::*size;
  } bounds[] = {{"requests", "max_queue_len", &QueueSize::requests},
                {"prompt tokens", "max_queue_tokens", &QueueSize::tokens},
                {"bytes", "max_queue_bytes", &QueueSize::bytes}};
  if (waiting.requests == 0) return absl::OkStatus();
  for (const auto& bound : bounds) {
    const int64_t had = waiting.*bound.size, more = incoming.*bound.size, limit = limits.*bound.size;
    if (had + more > limit) return Full(bound.what, bound.flag, had, more, limit, retry_after);
  }
  return absl::OkStatus();
}

void DrainRate::Note(absl::Time now, int64_t admitted_tokens, bool waited) {
  if (last_ != absl::InfinitePast() && waited) {
    const double seconds = std::max(0.0, absl::ToDoubleSeconds(now - last_));
    const double keep = std::exp(-seconds / kMemorySeconds);
    tokens_ = keep * tokens_ + static_cast<double>(admitted_tokens);
    seconds_ = keep * seconds_ + seconds;
  }
  last_ = now;
}

absl::Duration DrainRate::TimeFor(int64_t tokens) const {
  if (seconds_ < kLeastSeconds) return kUnknownRetry;
  // As long again as nothing has moved so far.
  if (tokens_ <= 0) return std::clamp(absl::Seconds(std::round(seconds_)), kUnknownRetry, kMostRetry);
  // Whole milliseconds: the message and the trailer shall say the same.
  const double seconds = static_cast<double>(tokens) * seconds_ / tokens_;
  const absl::Duration time = absl::Milliseconds(std::llround(std::min(seconds * 1e3, 1e6)));
  return std::clamp(time, kLeastRetry, kMostRetry);
}

}  // namespace quire::engine
