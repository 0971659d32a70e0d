// What the edges observe of requests, and the page that Prometheus reads. Names are vLLM's under quire_, so that its
// dashboards fit with another prefix.
//
// Threads: every method is safe on any thread. What is called per token or per step takes no lock.
// Invariants:
//   T1  Both edges count every request exactly once: as rejected, or with one RequestRecorder until its end.
//   T2  Label sets are bounded: names of handlers, methods, codes and reasons are ours, never the client's, and beyond
//       kMaxSeries of a family they are counted as "other".
//   T3  Times come from one monotonic clock of this process; time to first token starts when the edge has the request.
#ifndef QUIRE_COORDINATOR_METRICS_METRICS_H_
#define QUIRE_COORDINATOR_METRICS_METRICS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/metrics/family.h"
#include "coordinator/metrics/histogram.h"
#include "coordinator/metrics/recent_values.h"
#include "coordinator/metrics/snapshot.h"

namespace quire::metrics {

// Nanoseconds of the monotonic clock.
int64_t MonotonicNanos();

// Why a choice ended.
enum class Finish { kStop, kLength, kAbort };

// Counts by up to three labels.
class LabelledCounter {
 public:
  static constexpr size_t kMaxSeries = 256;
  using Key = std::array<std::string, 3>;

  void Declare(const Key& key);
  void Count(absl::string_view first, absl::string_view second = "", absl::string_view third = "");
  // `labels` name the parts given to Count; empty names are left out.
  void AddTo(const std::array<const char*, 3>& labels, FamilyList* list) const;

 private:
  mutable absl::Mutex mutex_;
  std::map<Key, uint64_t> counts_ ABSL_GUARDED_BY(mutex_);
};

class Metrics {
 public:
  struct Options {
    std::string model_name;
    std::string version;
  };
  explicit Metrics(const Options& options);

  // A request that was refused before it waited or ran, with the status its client got.
  void CountRejected(const absl::Status& status);
  // A request that an edge answered. `handler` is the route's path, never the client's.
  void CountHttp(absl::string_view handler, absl::string_view method, int status);
  // `code` by name.
  void CountGrpc(absl::string_view method, absl::string_view code);
  // When the certificate in use ends, by what it is for ("http", "grpc", "workers"), in Unix time.
  void SetCertificateEnd(absl::string_view use, double unix_seconds);

  // All of it in the text format.
  std::string Page(const Snapshot& snapshot) const;

  // Of the last minute, for people who look.
  const RecentValues& recent_first_token() const { return recent_first_token_; }
  const RecentValues& recent_token() const { return recent_token_; }

 private:
  friend class RequestRecorder;
  void AddRequests(FamilyList* list) const;

  const Options options_;
  LabelledCounter rejected_;
  LabelledCounter failed_;
  LabelledCounter http_;
  LabelledCounter grpc_;
  mutable absl::Mutex certificates_mutex_;
  std::map<std::string, double> certificates_ ABSL_GUARDED_BY(certificates_mutex_);
  std::array<std::atomic<uint64_t>, 3> finished_{};  // by Finish

  Histogram first_token_{kFirstTokenBounds};
  Histogram inter_token_{kTokenBounds};
  Histogram per_output_token_{kTokenBounds};
  Histogram whole_{kRequestBounds};
  Histogram queue_{kRequestBounds};
  Histogram inference_{kRequestBounds};
  Histogram prefill_{kRequestBounds};
  Histogram decode_{kRequestBounds};
  Histogram prompt_tokens_{kLengthBounds};
  Histogram cached_tokens_{kLengthBounds};
  Histogram generation_tokens_{kLengthBounds};
  Histogram most_generation_tokens_{kLengthBounds};
  Histogram asked_choices_{kChoiceBounds};
  Histogram asked_tokens_{kLengthBounds};
  RecentValues recent_first_token_;
  RecentValues recent_token_;
};

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_METRICS_H_
