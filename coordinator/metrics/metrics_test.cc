// Names, values and bounds of the page. That promtool finds nothing wrong is checked where it is installed.
#include "coordinator/metrics/metrics.h"

#include <gtest/gtest.h>
#include <stdio.h>

#include <cstdlib>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/metrics/request_recorder.h"
#include "coordinator/metrics/testing/full_page.h"

namespace quire::metrics {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

// The value of the series `name{labels}`, -1 if the page has none.
double ValueOf(const std::string& page, const std::string& series) {
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, absl::StrCat(series, " "))) continue;
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(line.substr(series.size() + 1), &value)) << line;
    return value;
  }
  return -1;
}

TEST(Metrics, FollowsARequest) {
  Metrics metrics({"m", "0"});
  RequestRecorder recorder(&metrics, {MonotonicNanos() - 3 * kSecond, 100, 2, 64});
  recorder.OnTokens(0, 1, 48);
  recorder.OnTokens(1, 1, 48);
  recorder.OnTokens(0, 2, 48);  // with an accepted draft
  recorder.OnTokens(0, 0, 48);  // text that trailed
  recorder.OnChoiceEnd(Finish::kStop);
  recorder.OnChoiceEnd(Finish::kLength);
  recorder.OnEnd(absl::OkStatus(), {absl::Seconds(1), absl::Seconds(2), absl::Milliseconds(40)});
  const std::string page = metrics.Page({});
  const auto value = [&page](const std::string& name) {
    return ValueOf(page, absl::StrCat("quire_", name, "{model_name=\"m\"}"));
  };
  EXPECT_EQ(value("time_to_first_token_seconds_count"), 1) << page;
  EXPECT_NEAR(value("time_to_first_token_seconds_sum"), 3, 0.5);
  EXPECT_EQ(value("inter_token_latency_seconds_count"), 1) << "of each choice, between news with tokens";
  EXPECT_EQ(value("request_prompt_tokens_sum"), 100);
  EXPECT_EQ(value("request_cached_tokens_sum"), 48);
  EXPECT_EQ(value("request_generation_tokens_count"), 2);
  EXPECT_EQ(value("request_generation_tokens_sum"), 4);
  EXPECT_EQ(value("request_max_num_generation_tokens_sum"), 3);
  EXPECT_EQ(value("request_params_n_sum"), 2);
  EXPECT_EQ(value("request_params_max_tokens_sum"), 64);
  EXPECT_EQ(value("request_queue_time_seconds_sum"), 1);
  EXPECT_EQ(value("request_prefill_time_seconds_sum"), 2);
  EXPECT_NEAR(value("request_decode_time_seconds_sum"), 0.04, 1e-9);
  EXPECT_NEAR(value("request_inference_time_seconds_sum"), 2.04, 1e-9);
  EXPECT_NEAR(value("request_time_per_output_token_seconds_sum"), 0.02, 1e-9) << "40 ms for two more tokens";
  EXPECT_NEAR(value("e2e_request_latency_seconds_sum"), 3, 0.5);
  EXPECT_EQ(ValueOf(page, "quire_request_success_total{model_name=\"m\",finished_reason=\"stop\"}"), 1);
  EXPECT_EQ(ValueOf(page, "quire_request_success_total{model_name=\"m\",finished_reason=\"length\"}"), 1);
  EXPECT_EQ(metrics.recent_first_token().Get(MonotonicNanos(), 60 * kSecond).count, 1);
  EXPECT_NEAR(metrics.recent_token().Get(MonotonicNanos(), 60 * kSecond).p99, 0.02, 1e-9);
}

TEST(Metrics, WhatEndsEarlyIsRejectedFailedOrAborted) {
  Metrics metrics({"m", "0"});
  RequestRecorder full(&metrics, {MonotonicNanos(), 1, 1, 1});
  full.OnEnd(absl::ResourceExhaustedError("the queue is full"), {});
  metrics.CountRejected(absl::InvalidArgumentError("n"));
  RequestRecorder lost(&metrics, {MonotonicNanos(), 1, 1, 1});
  lost.OnTokens(0, 1, 0);
  lost.OnEnd(absl::UnavailableError("lost"), {});
  RequestRecorder gone(&metrics, {MonotonicNanos(), 1, 3, 1});
  gone.OnChoiceEnd(Finish::kStop);
  gone.OnEnd(absl::CancelledError("the client left"), {});
  const std::string page = metrics.Page({});
  EXPECT_EQ(ValueOf(page, "quire_requests_rejected_total{model_name=\"m\",reason=\"queue_full\"}"), 1) << page;
  EXPECT_EQ(ValueOf(page, "quire_requests_rejected_total{model_name=\"m\",reason=\"invalid\"}"), 1);
  EXPECT_EQ(ValueOf(page, "quire_requests_failed_total{model_name=\"m\",code=\"unavailable\"}"), 1);
  EXPECT_EQ(ValueOf(page, "quire_request_success_total{model_name=\"m\",finished_reason=\"abort\"}"), 2);
  EXPECT_EQ(ValueOf(page, "quire_e2e_request_latency_seconds_count{model_name=\"m\"}"), 2)
      << "of those that ran or left";
}

TEST(Metrics, SeriesAreBounded) {
  Metrics metrics({"m", "0"});
  for (size_t i = 0; i < 2 * LabelledCounter::kMaxSeries; ++i) metrics.CountGrpc(absl::StrCat("Method", i), "OK");
  metrics.CountHttp("/v1/models", "BREW", 405);
  const std::string page = metrics.Page({});
  size_t series = 0;
  for (absl::string_view line : absl::StrSplit(page, '\n'))
    series += absl::StartsWith(line, "quire_grpc_requests_total");
  EXPECT_EQ(series, LabelledCounter::kMaxSeries);
  EXPECT_EQ(ValueOf(page, "quire_grpc_requests_total{model_name=\"m\",method=\"other\",code=\"other\"}"),
            LabelledCounter::kMaxSeries + 1);
  EXPECT_EQ(
      ValueOf(page,
              "quire_http_requests_total{model_name=\"m\",handler=\"/v1/models\",method=\"other\",status=\"405\"}"),
      1);
}

TEST(Metrics, TheEnginesNumbers) {
  StepMetrics steps;
  steps.exec.Observe(0.002);
  Metrics metrics({"m", "0"});
  const std::string page = metrics.Page(FullSnapshot(&steps));
  const auto value = [&page](const std::string& series) { return ValueOf(page, absl::StrCat("quire_", series)); };
  EXPECT_EQ(value("num_requests_running{model_name=\"m\",replica=\"1\"}"), 3) << page;
  EXPECT_EQ(value("num_requests_waiting{model_name=\"m\",replica=\"0\"}"), 0);
  EXPECT_EQ(value("workers_up{model_name=\"m\",replica=\"1\"}"), 2);
  EXPECT_EQ(value("num_preemptions_total{model_name=\"m\",replica=\"1\",kind=\"recompute\"}"), 6);
  const std::string rank = "kv_blocks{model_name=\"m\",replica=\"1\",worker=\"1\",";
  EXPECT_EQ(value(rank + "memory=\"device\",state=\"free\"}"), 65);
  EXPECT_EQ(value(rank + "memory=\"host\",state=\"used\"}"), 7);
  EXPECT_EQ(value("step_seconds_count{model_name=\"m\",replica=\"1\",phase=\"exec\"}"), 1);
  EXPECT_EQ(value("step_seconds_bucket{model_name=\"m\",replica=\"1\",phase=\"exec\",le=\"0.001\"}"), 0);
  EXPECT_EQ(value("step_seconds_bucket{model_name=\"m\",replica=\"1\",phase=\"exec\",le=\"0.0025\"}"), 1);
  EXPECT_EQ(value("model_bandwidth_utilization{model_name=\"m\",replica=\"1\"}"), 0.5);
  EXPECT_EQ(value("cache_config_info{model_name=\"m\",replica=\"1\",block_size=\"16\",num_gpu_blocks=\"100\"}"), 1);
  Snapshot unknown = FullSnapshot(&steps);
  unknown.knows_peak_bandwidth = false;
  EXPECT_FALSE(absl::StrContains(metrics.Page(unknown), "bandwidth_utilization"))
      << "no figure rather than a wrong one";
}

TEST(Histogram, BucketsAndQuantiles) {
  Histogram histogram(kChoiceBounds);
  for (double v : {0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 1e9}) histogram.Observe(v);
  const HistogramValues values = histogram.Read();
  EXPECT_EQ(values.counts, (std::vector<uint64_t>{2, 2, 2, 0, 0, 0, 0, 1})) << "a bound belongs to its bucket";
  EXPECT_EQ(values.count(), 7u);
  EXPECT_EQ(values.Quantile(0), 0);
  EXPECT_DOUBLE_EQ(values.Quantile(3.0 / 7), 1.5);
  EXPECT_EQ(values.Quantile(1), 128) << "the last bound, beyond which nothing is known";
  EXPECT_EQ(Histogram(kTokenBounds).Read().Quantile(0.5), 0);
}

TEST(Histogram, NothingIsLostAmongThreads) {
  Histogram histogram(kTokenBounds);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&histogram] {
      for (int i = 0; i < 10'000; ++i) histogram.Observe(0.25);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(histogram.Read().count(), 40'000u);
  EXPECT_EQ(histogram.Read().sum, 10'000);
}

TEST(RecentValues, OnlyTheRecentOnes) {
  RecentValues recent;
  for (int i = 0; i < 1000; ++i) recent.Add(i, i);
  EXPECT_EQ(recent.Get(1000, 10'000).count, static_cast<int64_t>(RecentValues::kMaxValues));
  const Percentiles last = recent.Get(1000, 100);
  EXPECT_EQ(last.count, 100);
  EXPECT_EQ(last.p50, 950);
  EXPECT_EQ(last.p99, 999);
  EXPECT_EQ(recent.Get(5000, 100).count, 0);
}

// The rules that Prometheus asks of names, and ours.
TEST(Page, NamesFollowTheRules) {
  const std::string page = FullPage();
  std::set<std::string> seen;
  const std::regex name_rule("quire_[a-z0-9]+(_[a-z0-9]+)*");
  std::string help;
  for (absl::string_view line : absl::StrSplit(page, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    if (absl::StartsWith(line, "# HELP ")) help = words[2];
    if (!absl::StartsWith(line, "# TYPE ")) continue;
    const std::string& name = words[2];
    EXPECT_EQ(help, name) << "every family says what it is";
    EXPECT_TRUE(seen.insert(name).second) << name << " twice";
    EXPECT_TRUE(std::regex_match(name, name_rule)) << name;
    EXPECT_EQ(words[3] == "counter", absl::EndsWith(name, "_total")) << name;
    for (const char* suffix : {"_count", "_sum", "_bucket", "_ms", "_milliseconds", "_percent", "_kb", "_mb"}) {
      EXPECT_FALSE(absl::EndsWith(name, suffix)) << name;
    }
  }
  EXPECT_GT(seen.size(), 50u) << page;
}

TEST(Page, PromtoolFindsNothing) {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) GTEST_SKIP() << "no promtool (Debian: prometheus)";
  FILE* promtool = popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  const std::string page = FullPage();
  EXPECT_EQ(fwrite(page.data(), 1, page.size(), promtool), page.size());
  EXPECT_EQ(pclose(promtool), 0) << page;
}

}  // namespace
}  // namespace quire::metrics
