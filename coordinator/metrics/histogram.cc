// Buckets and atomics. See histogram.h.
#include "coordinator/metrics/histogram.h"

#include <glog/logging.h>

#include <algorithm>
#include <numeric>

namespace quire::metrics {
namespace {

constexpr double kFirstToken[] = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                  1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
constexpr double kToken[] = {.001, .0025, .005, .0075, .01, .015, .02, .03, .04,
                             .05,  .075,  .1,   .15,   .2,  .3,   .5,  1,   2.5};
constexpr double kRequest[] = {.05, .1, .3, .5, .8, 1,   1.5, 2,   2.5, 5,    10,  15,
                               20,  30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
constexpr double kStep[] = {.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
constexpr double kLength[] = {1,    2,    5,     10,    20,    50,     100,    200,    500,    1000,
                              2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000};
constexpr double kChoice[] = {1, 2, 5, 10, 20, 50, 128};
constexpr double kBatch[] = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

}  // namespace

const Bounds kFirstTokenBounds(kFirstToken);
const Bounds kTokenBounds(kToken);
const Bounds kRequestBounds(kRequest);
const Bounds kStepBounds(kStep);
const Bounds kLengthBounds(kLength);
const Bounds kChoiceBounds(kChoice);
const Bounds kBatchBounds(kBatch);

uint64_t HistogramValues::count() const { return std::accumulate(counts.begin(), counts.end(), uint64_t{0}); }

double HistogramValues::Quantile(double q) const {
  const double rank = q * static_cast<double>(count());
  double below = 0;
  for (size_t i = 0; i < bounds.size(); ++i) {
    const double in_bucket = static_cast<double>(counts[i]);
    if (in_bucket > 0 && below + in_bucket >= rank) {
      const double low = i == 0 ? 0 : bounds[i - 1];
      return low + (bounds[i] - low) * (rank - below) / in_bucket;
    }
    below += in_bucket;
  }
  return rank > 0 ? bounds.back() : 0;
}

Histogram::Histogram(Bounds bounds) : bounds_(bounds) {
  CHECK(!bounds.empty() && bounds.size() <= kMaxBounds) << bounds.size() << " bounds";
  CHECK(std::is_sorted(bounds.begin(), bounds.end()));
}

void Histogram::Observe(double value) {
  const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
  counts_[static_cast<size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  double sum = sum_.load(std::memory_order_relaxed);
  while (!sum_.compare_exchange_weak(sum, sum + value, std::memory_order_relaxed)) {
  }
}

HistogramValues Histogram::Read() const {
  HistogramValues values;
  values.bounds = bounds_;
  values.counts.reserve(bounds_.size() + 1);
  for (size_t i = 0; i <= bounds_.size(); ++i) values.counts.push_back(counts_[i].load(std::memory_order_relaxed));
  values.sum = sum_.load(std::memory_order_relaxed);
  return values;
}

}  // namespace quire::metrics
