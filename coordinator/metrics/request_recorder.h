// Follows one accepted request and observes what its client sees of it.
//
// One thread at a time: its edge until the request is handed over, then the engine's.
#ifndef QUIRE_COORDINATOR_METRICS_REQUEST_RECORDER_H_
#define QUIRE_COORDINATOR_METRICS_REQUEST_RECORDER_H_

#include <cstdint>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/metrics/metrics.h"

namespace quire::metrics {

// What is known of a request when it is accepted.
struct RequestShape {
  int64_t arrival = 0;  // MonotonicNanos() when the edge had it
  int64_t prompt_tokens = 0;
  uint32_t n = 1;
  uint32_t max_tokens = 0;
  uint32_t num_drawn = 0;  // choices; 0 = n, more with best_of
};

struct RequestPhases {
  absl::Duration queue;    // arrival to first scheduled
  absl::Duration prefill;  // first scheduled to first token
  absl::Duration decode;   // first token to last
};

class RequestRecorder {
 public:
  // `metrics` outlives this.
  RequestRecorder(Metrics* metrics, const RequestShape& shape);

  // News of a choice: `num_tokens` more, `cached_tokens` of the prompt were in the cache. Takes no lock but at a
  // request's first token. Requires: choice < num_drawn.
  void OnTokens(uint32_t choice, int64_t num_tokens, int64_t cached_tokens);
  void OnChoiceEnd(Finish finish);
  void OnEnd(const absl::Status& status, const RequestPhases& phases);

 private:
  struct Choice {
    int64_t last = 0;  // time of its last news with tokens
    int64_t tokens = 0;
  };
  void ObserveAll(const RequestPhases& phases, int64_t now);

  Metrics* const metrics_;
  const RequestShape shape_;
  int64_t cached_tokens_ = 0;
  int64_t first_ = 0;  // 0 = no token yet
  uint32_t num_ended_ = 0;
  absl::InlinedVector<Choice, 2> choices_;
};

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_REQUEST_RECORDER_H_
