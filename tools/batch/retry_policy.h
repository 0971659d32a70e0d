// Whether and when a line is sent again. Pure: no clock, no dice.
#ifndef QUIRE_TOOLS_BATCH_RETRY_POLICY_H_
#define QUIRE_TOOLS_BATCH_RETRY_POLICY_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "tools/batch/http_client.h"

namespace quire::batch {

enum class Verdict {
  kAnswered,  // an answer that stays: 200, or a refusal that another attempt would meet again
  kBusy,      // 429, 503: wait as the server says, for as long as it takes within the bound
  kAway,      // no connection, or it broke
  kFailed,    // 408, 500, 502, 504: once more may help, more often not
  kNoAnswer,  // no answer in time, or too long a one: the line ends without
  kCancelled,
};

Verdict Judge(const absl::StatusOr<HttpReply>& reply);

// The attempts of one line.
class RetryPolicy {
 public:
  // bound: how long all waits may take together.
  explicit RetryPolicy(absl::Duration bound) : left_(bound) {}

  // How long to wait after an attempt that ended as `verdict`; nothing: give up. `retry_after` is the server's wish,
  // negative if it has none; `dice` in [0, 1) spreads those who were refused together.
  // Requires: verdict is kBusy, kAway or kFailed.
  std::optional<absl::Duration> WaitAfter(Verdict verdict, absl::Duration retry_after, double dice);

 private:
  absl::Duration left_;
  int attempts_ = 0;
  int failures_ = 0;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_RETRY_POLICY_H_
