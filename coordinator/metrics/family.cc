// Families to text by prometheus-cpp's serializer. See family.h.
#include "coordinator/metrics/family.h"

#include <glog/logging.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>

#include "absl/strings/str_cat.h"

namespace quire::metrics {
namespace {

prometheus::MetricType TypeOf(Kind kind) {
  switch (kind) {
    case Kind::kCounter:
      return prometheus::MetricType::Counter;
    case Kind::kGauge:
      return prometheus::MetricType::Gauge;
    case Kind::kHistogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

void SetHistogram(const HistogramValues& values, prometheus::ClientMetric* metric) {
  uint64_t cumulative = 0;
  for (size_t i = 0; i < values.counts.size(); ++i) {
    cumulative += values.counts[i];
    const bool last = i == values.bounds.size();
    metric->histogram.bucket.push_back({cumulative, last ? std::numeric_limits<double>::infinity() : values.bounds[i]});
  }
  metric->histogram.sample_count = cumulative;
  metric->histogram.sample_sum = values.sum;
}

prometheus::ClientMetric MakeMetric(Kind kind, const Sample& sample) {
  prometheus::ClientMetric metric;
  for (const auto& [name, value] : sample.labels) metric.label.push_back({name, value});
  if (kind == Kind::kCounter) metric.counter.value = sample.value;
  if (kind == Kind::kGauge) metric.gauge.value = sample.value;
  if (kind == Kind::kHistogram) SetHistogram(sample.histogram, &metric);
  return metric;
}

}  // namespace

void FamilyList::Begin(Kind kind, absl::string_view name, absl::string_view help) {
  if (!families_.empty() && families_.back().samples.empty()) families_.pop_back();
  Family family;
  family.name = absl::StrCat(kPrefix, name);
  family.help = std::string(help);
  family.kind = kind;
  families_.push_back(std::move(family));
}

void FamilyList::Add(double value, Labels labels) {
  CHECK(!families_.empty() && families_.back().kind != Kind::kHistogram);
  Sample sample;
  sample.labels = common_;
  sample.labels.insert(sample.labels.end(), labels.begin(), labels.end());
  sample.value = value;
  families_.back().samples.push_back(std::move(sample));
}

void FamilyList::Add(HistogramValues values, Labels labels) {
  CHECK(!families_.empty() && families_.back().kind == Kind::kHistogram);
  Sample sample;
  sample.labels = common_;
  sample.labels.insert(sample.labels.end(), labels.begin(), labels.end());
  sample.histogram = std::move(values);
  families_.back().samples.push_back(std::move(sample));
}

void FamilyList::Counter(absl::string_view name, absl::string_view help, double value) {
  Begin(Kind::kCounter, name, help);
  Add(value);
}

void FamilyList::Gauge(absl::string_view name, absl::string_view help, double value) {
  Begin(Kind::kGauge, name, help);
  Add(value);
}

void FamilyList::Histogram(absl::string_view name, absl::string_view help, HistogramValues values) {
  Begin(Kind::kHistogram, name, help);
  Add(std::move(values));
}

std::vector<Family> FamilyList::Take() {
  if (!families_.empty() && families_.back().samples.empty()) families_.pop_back();
  return std::move(families_);
}

std::string ToText(const std::vector<Family>& families) {
  std::vector<prometheus::MetricFamily> converted;
  converted.reserve(families.size());
  for (const Family& family : families) {
    prometheus::MetricFamily to;
    to.name = family.name;
    to.help = family.help;
    to.type = TypeOf(family.kind);
    for (const Sample& sample : family.samples) to.metric.push_back(MakeMetric(family.kind, sample));
    converted.push_back(std::move(to));
  }
  return prometheus::TextSerializer().Serialize(converted);
}

}  // namespace quire::metrics
