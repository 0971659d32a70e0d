// A histogram and its buckets: what the engine observes per step and per token, so cheap and without a lock.
//
// Threads: Observe and Read are safe on any thread; a Read beside an Observe may miss it or see its count before its sum.
// Invariants:
//   H1  Nothing is allocated after construction, and nobody waits.
//   H2  Bucket i counts what is over bounds[i - 1] and at most bounds[i]; the last one counts the rest.
#ifndef QUIRE_COORDINATOR_METRICS_HISTOGRAM_H_
#define QUIRE_COORDINATOR_METRICS_HISTOGRAM_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace quire::metrics {

using Bounds = absl::Span<const double>;  // ascending, of static storage

// Seconds, as vLLM has them, so that its dashboards fit.
extern const Bounds kFirstTokenBounds;
// Seconds. vLLM's begin at 10 ms, which hides a fast model.
extern const Bounds kTokenBounds;
extern const Bounds kRequestBounds;  // seconds, of whole requests and their phases
extern const Bounds kStepBounds;     // seconds
extern const Bounds kLengthBounds;   // tokens: 1, 2, 5, 10, ... The same whatever the model, so that servers add up
extern const Bounds kChoiceBounds;   // n
extern const Bounds kBatchBounds;    // tokens of one step

struct HistogramValues {
  Bounds bounds;
  std::vector<uint64_t> counts;  // bounds.size() + 1, not cumulative
  double sum = 0;

  uint64_t count() const;
  // The value below which a share `q` of all lies, within its bucket by the straight line; 0 without any.
  double Quantile(double q) const;
};

class Histogram {
 public:
  static constexpr size_t kMaxBounds = 31;

  // Requires: 1 to kMaxBounds bounds.
  explicit Histogram(Bounds bounds);

  void Observe(double value);
  HistogramValues Read() const;

 private:
  const Bounds bounds_;
  std::array<std::atomic<uint64_t>, kMaxBounds + 1> counts_{};
  std::atomic<double> sum_{0};
};

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_HISTOGRAM_H_
