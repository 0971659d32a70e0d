#include <gtest/gtest.h>

#include <set>

#include "tools/bench/serve_report.h"
#include "tools/bench/serve_workload.h"

namespace quire::bench {
namespace {

WorkloadOptions Options() {
  WorkloadOptions options;
  options.vocab_size = 100;
  options.max_model_len = 4096;
  options.input = {10, 20};
  options.output = {5, 5};
  return options;
}

TEST(ServeWorkloadTest, LengthRanges) {
  EXPECT_EQ(ParseLengthRange("128")->least, 128);
  EXPECT_EQ(ParseLengthRange("128")->most, 128);
  EXPECT_EQ(ParseLengthRange("64-256")->most, 256);
  for (const char* bad : {"", "0", "-5", "9-8", "1-2-3", "a", "1.5", "1-"})
    EXPECT_FALSE(ParseLengthRange(bad).ok()) << bad;
}

TEST(ServeWorkloadTest, RequestsDependOnSeedAndIndexOnly) {
  WorkloadOptions options = Options();
  std::set<int64_t> lengths;
  for (int64_t i = 0; i < 300; ++i) {
    const RequestSpec spec = MakeRequestSpec(options, i);
    EXPECT_EQ(spec.prompt_ids, MakeRequestSpec(options, i).prompt_ids);
    EXPECT_EQ(spec.output_len, 5u);
    for (const uint32_t id : spec.prompt_ids) EXPECT_LT(id, 100u);
    lengths.insert(static_cast<int64_t>(spec.prompt_ids.size()));
  }
  EXPECT_EQ(*lengths.begin(), 10);
  EXPECT_EQ(*lengths.rbegin(), 20);
  EXPECT_EQ(lengths.size(), 11u);
  const RequestSpec before = MakeRequestSpec(options, 3);
  options.seed = 2;
  EXPECT_NE(MakeRequestSpec(options, 3).prompt_ids, before.prompt_ids);
}

TEST(ServeWorkloadTest, ChatsHaveTheStatedMedians) {
  WorkloadOptions options = Options();
  options.shape = LengthShape::kShareGpt;
  std::vector<double> input, output;
  for (int64_t i = 0; i < 4000; ++i) {
    const RequestSpec spec = MakeRequestSpec(options, i);
    input.push_back(static_cast<double>(spec.prompt_ids.size()));
    output.push_back(spec.output_len);
  }
  // The median of a log-normal is mean * exp(-sigma^2 / 2): 73.7 and 205.
  EXPECT_NEAR(Summarize(input).p50 * 1e-3, 73.7, 6);
  EXPECT_NEAR(Summarize(output).p50 * 1e-3, 205, 13);
  options.max_model_len = 64;
  for (int64_t i = 0; i < 200; ++i) {
    const RequestSpec spec = MakeRequestSpec(options, i);
    EXPECT_GE(spec.prompt_ids.size(), 1u);
    EXPECT_GE(spec.output_len, 1u);
    EXPECT_LE(spec.prompt_ids.size() + spec.output_len, 64u);
  }
}

TEST(ServeWorkloadTest, ArrivalsHaveTheRate) {
  const std::vector<absl::Duration> arrivals = PoissonArrivals(7, 50, 10000);
  EXPECT_EQ(arrivals.front(), absl::ZeroDuration());
  EXPECT_TRUE(std::is_sorted(arrivals.begin(), arrivals.end()));
  EXPECT_NEAR(absl::ToDoubleSeconds(arrivals.back()), 200, 8);
  EXPECT_EQ(PoissonArrivals(7, 50, 10), std::vector<absl::Duration>(arrivals.begin(), arrivals.begin() + 10));
}

TEST(ServeReportTest, Percentiles) {
  std::vector<double> seconds;
  for (int i = 100; i >= 0; --i) seconds.push_back(i * 1e-3);
  const Distribution d = Summarize(seconds);
  EXPECT_NEAR(d.mean, 50, 1e-9);
  EXPECT_NEAR(d.p50, 50, 1e-9);
  EXPECT_NEAR(d.p90, 90, 1e-9);
  EXPECT_NEAR(d.p99, 99, 1e-9);
  EXPECT_NEAR(Summarize({0.001, 0.002}).p50, 1.5, 1e-9);
  EXPECT_EQ(Summarize({}).p99, 0);
}

TEST(ServeReportTest, RatesAndSharesFollowTheirDefinitions) {
  RunResult run;
  run.seconds = 2;
  run.mean_used_tokens = 50;
  RequestRecord good;
  good.ok = true;
  good.input_tokens = 10;
  good.output_tokens = 5;
  good.ttft = 0.1;
  good.last_token = 0.5;
  good.e2e = 0.6;
  good.gaps = {0.1, 0.1, 0.1, 0.1};
  RequestRecord bad;
  bad.error = "14: gone";
  bad.output_tokens = 3;
  run.records = {good, bad, good};
  ModelCost cost;
  cost.weight_bytes = 1000;
  cost.kv_bytes_per_token = 2;
  cost.elements = 500;
  cost.head_elements = 100;
  const Report report = MakeReport(run, cost, {/*read=*/22000, /*fma=*/25600}, {/*step=*/0.1, /*worker=*/0.08});
  EXPECT_EQ(report.completed, 2);
  EXPECT_EQ(report.failed, 1);
  EXPECT_EQ(report.first_error, "14: gone");
  EXPECT_NEAR(report.output_rate, 5, 1e-9);
  EXPECT_NEAR(report.total_rate, 15, 1e-9);
  EXPECT_NEAR(report.ttft.p50, 100, 1e-9);
  EXPECT_NEAR(report.tpot.p50, 100, 1e-9);
  EXPECT_NEAR(report.itl.p99, 100, 1e-9);
  EXPECT_NEAR(report.e2e.mean, 600, 1e-9);
  EXPECT_NEAR(report.mbu, (1000 + 2 * 50) / 0.1 / 22000, 1e-9);
  // 20 in, 10 out, 28 of them fed.
  EXPECT_NEAR(report.mfu, 2.0 * (400 * 28 + 100 * 10) / 2 / 25600, 1e-9);
  EXPECT_NEAR(report.worker_share, 0.8, 1e-9);
}

TEST(ServeReportTest, WhatIsUnknownIsNull) {
  const Report report = MakeReport({}, {}, {}, {});
  EXPECT_EQ(report.mbu, 0);
  const std::string json = ReportJson(report, {}, {}, {}, {}, {}, "{\"a\": 1}");
  EXPECT_NE(json.find("\"mbu\": null"), std::string::npos);
  EXPECT_NE(json.find("\"a\": 1"), std::string::npos);
}

}  // namespace
}  // namespace quire::bench
