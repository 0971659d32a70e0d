#include "coordinator/metrics/recent_values.h"

#include <algorithm>
#include <vector>

namespace quire::metrics {

void RecentValues::Add(int64_t now, double value) {
  absl::MutexLock lock(&mutex_);
  ring_[added_++ % kMaxValues] = {now, value};
}

Percentiles RecentValues::Get(int64_t now, int64_t age) const {
  std::vector<double> values;
  {
    absl::MutexLock lock(&mutex_);
    const size_t n = static_cast<size_t>(std::min<uint64_t>(added_, kMaxValues));
    for (size_t i = 0; i < n; ++i) {
      if (now - ring_[i].time <= age) values.push_back(ring_[i].value);
    }
  }
  Percentiles result;
  result.count = static_cast<int64_t>(values.size());
  if (values.empty()) return result;
  std::sort(values.begin(), values.end());
  result.p50 = values[values.size() / 2];
  result.p99 = values[values.size() * 99 / 100];
  return result;
}

}  // namespace quire::metrics
