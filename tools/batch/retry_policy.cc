#include "tools/batch/retry_policy.h"

#include <algorithm>

#include "absl/status/status.h"

namespace quire::batch {
namespace {

constexpr int kFailuresMax = 3;
constexpr int kAttemptsMax = 1000;  // the bound on time comes first
constexpr absl::Duration kFirstWait = absl::Milliseconds(200);
constexpr absl::Duration kLongestWait = absl::Seconds(60);

}  // namespace

Verdict Judge(const absl::StatusOr<HttpReply>& reply) {
  if (!reply.ok()) {
    if (absl::IsCancelled(reply.status())) return Verdict::kCancelled;
    return absl::IsUnavailable(reply.status()) ? Verdict::kAway : Verdict::kNoAnswer;
  }
  switch (reply->status) {
    case 429:
    case 503:
      return Verdict::kBusy;
    case 408:
    case 500:
    case 502:
    case 504:
      return Verdict::kFailed;
    default:
      return Verdict::kAnswered;
  }
}

std::optional<absl::Duration> RetryPolicy::WaitAfter(Verdict verdict, absl::Duration retry_after, double dice) {
  if (++attempts_ >= kAttemptsMax) return std::nullopt;
  if (verdict == Verdict::kFailed && ++failures_ >= kFailuresMax) return std::nullopt;
  absl::Duration wait = retry_after;
  if (wait < absl::ZeroDuration()) wait = kFirstWait * (1 << std::min(attempts_, 10));
  wait = std::min(wait, kLongestWait) * (1 + 0.25 * dice);  // never sooner than asked for
  if (wait > left_) return std::nullopt;
  left_ -= wait;
  return wait;
}

}  // namespace quire::batch
