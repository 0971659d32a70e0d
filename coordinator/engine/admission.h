// The bounds of the waiting queue, and when a refused client may come back. Pure; engine thread only.
//
// Whoever was accepted waits until it runs, its deadline passes or its client leaves: deadlines are checked to the
// moment, and nobody is ended early on a guess that it will be too late.
#ifndef QUIRE_COORDINATOR_ENGINE_ADMISSION_H_
#define QUIRE_COORDINATOR_ENGINE_ADMISSION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/request/request.h"

namespace quire::engine {

// Of requests that wait; as limits, each > 0.
struct QueueSize {
  int64_t requests = 0;
  int64_t tokens = 0;  // of prompts
  int64_t bytes = 0;   // of memory

  void Add(const QueueSize& other) { requests += other.requests, tokens += other.tokens, bytes += other.bytes; }
};

// Payload of a refusal's status: milliseconds after which coming back may help, as decimal text.
inline constexpr char kRetryAfterPayload[] = "quire/retry-after-ms";

// Bytes that a waiting request takes.
int64_t RequestBytes(const request::Request& request);

// Whether `incoming` may wait beside those that do. Into an empty queue goes everything that a request may be.
// Errors: RESOURCE_EXHAUSTED with the limit's flag, both numbers and kRetryAfterPayload.
absl::Status CheckQueue(const QueueSize& limits, const QueueSize& waiting, const QueueSize& incoming,
                        absl::Duration retry_after);

// How fast the queue empties: tokens of prompts that were admitted, by the second in which anything waited. The last
// half minute counts most.
class DrainRate {
 public:
  // Call in order of time. `admitted_tokens` since the last call, in which time requests waited or not.
  void Note(absl::Time now, int64_t admitted_tokens, bool waited);

  // When so many waiting tokens will have been admitted: from 0.1 s to 60 s; 1 s while nothing is known.
  absl::Duration TimeFor(int64_t tokens) const;

 private:
  absl::Time last_ = absl::InfinitePast();
  double tokens_ = 0;  // both fade
  double seconds_ = 0;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_ADMISSION_H_
