// Metrics as data on their way to a page: families of samples with labels. Any thread.
#ifndef QUIRE_COORDINATOR_METRICS_FAMILY_H_
#define QUIRE_COORDINATOR_METRICS_FAMILY_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/metrics/histogram.h"

namespace quire::metrics {

using Labels = std::vector<std::pair<std::string, std::string>>;

enum class Kind { kCounter, kGauge, kHistogram };

struct Sample {
  Labels labels;
  double value = 0;           // of a counter or gauge
  HistogramValues histogram;  // of a histogram
};

struct Family {
  std::string name;  // whole, with prefix
  std::string help;  // one sentence
  Kind kind = Kind::kGauge;
  std::vector<Sample> samples;
};

// Builds the families of one page. Every sample gets the labels that all have in common.
class FamilyList {
 public:
  explicit FamilyList(Labels common) : common_(std::move(common)) {}

  // Begins a family; what is added next belongs to it. A family without samples is left out. `name` without the prefix.
  void Begin(Kind kind, absl::string_view name, absl::string_view help);
  void Add(double value, Labels labels = {});
  void Add(HistogramValues values, Labels labels = {});
  // A family of one sample.
  void Counter(absl::string_view name, absl::string_view help, double value);
  void Gauge(absl::string_view name, absl::string_view help, double value);
  void Histogram(absl::string_view name, absl::string_view help, HistogramValues values);

  std::vector<Family> Take();

 private:
  const Labels common_;
  std::vector<Family> families_;
};

inline constexpr char kPrefix[] = "quire_";
// What a page is sent as.
inline constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

// The text format that Prometheus reads.
std::string ToText(const std::vector<Family>& families);

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_FAMILY_H_
