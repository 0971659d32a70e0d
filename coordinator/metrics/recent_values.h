// The last values of something, for people who look at it now. Thread-safe; memory fixed.
#ifndef QUIRE_COORDINATOR_METRICS_RECENT_VALUES_H_
#define QUIRE_COORDINATOR_METRICS_RECENT_VALUES_H_

#include <array>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace quire::metrics {

struct Percentiles {
  int64_t count = 0;  // the others are 0 without any
  double p50 = 0;
  double p99 = 0;
};

class RecentValues {
 public:
  static constexpr size_t kMaxValues = 512;

  // `now` in nanoseconds of the monotonic clock, ascending but for races.
  void Add(int64_t now, double value);
  // Of the values not older than `age` nanoseconds, at most kMaxValues.
  Percentiles Get(int64_t now, int64_t age) const;

 private:
  struct Entry {
    int64_t time = 0;
    double value = 0;
  };
  mutable absl::Mutex mutex_;
  std::array<Entry, kMaxValues> ring_ ABSL_GUARDED_BY(mutex_);
  uint64_t added_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_RECENT_VALUES_H_
