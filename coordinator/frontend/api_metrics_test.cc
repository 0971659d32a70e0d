// Requests through the API as the metrics page shows them, over a real engine and a simulated replica.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "coordinator/metrics/metrics.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

class EndSink final : public engine::RequestSink {
 public:
  explicit EndSink(std::shared_ptr<absl::Notification> ended) : ended_(std::move(ended)) {}
  void OnDelta(const engine::ChoiceDelta&) override {}
  void OnEnd(const absl::Status&, const engine::RequestTiming&) override { ended_->Notify(); }

 private:
  const std::shared_ptr<absl::Notification> ended_;
};

class ApiMetricsTest : public ::testing::Test {
 protected:
  ApiMetricsTest()
      : metrics_({"sim", "1"}),
        group_(SimWorkerGroupOptions()),
        engine_({}, {&group_}),
        api_(Options(), &engine_, /*tokenizer=*/nullptr) {
    EXPECT_TRUE(engine_.WaitUntilFormed(kPatience).ok());
  }
  ~ApiMetricsTest() override {
    group_.Release();
    engine_.Stop(absl::ZeroDuration());
  }

  ApiOptions Options() {
    ApiOptions options;
    options.served_model_name = "sim";
    options.metrics = &metrics_;
    options.peak_bandwidth_gbs = 1;
    return options;
  }

  absl::StatusOr<std::shared_ptr<absl::Notification>> Submit(const v1::GenerateRequest& message) {
    absl::StatusOr<Prepared> prepared = api_.Prepare(message, {}, absl::InfiniteFuture());
    if (!prepared.ok()) return prepared.status();
    auto ended = std::make_shared<absl::Notification>();
    const absl::StatusOr<uint64_t> id = api_.Submit(*std::move(prepared), std::make_unique<EndSink>(ended));
    if (!id.ok()) return id.status();
    return ended;
  }

  static v1::GenerateRequest Message(uint32_t max_tokens) {
    v1::GenerateRequest message;
    for (uint32_t id = 3; id < 43; ++id) message.mutable_tokenized()->add_input_ids(id);
    message.mutable_sampling_params()->set_max_tokens(max_tokens);
    message.mutable_sampling_params()->set_ignore_eos(true);
    return message;
  }

  // Of the page's series whose labels contain `labels`, the last one; -1 if there is none.
  double Value(const std::string& name, const std::string& labels = "") {
    double value = -1;
    for (absl::string_view line : absl::StrSplit(metrics_.Page(api_.GetSnapshot()), '\n')) {
      if (!absl::StartsWith(line, absl::StrCat("quire_", name, "{")) || !absl::StrContains(line, labels)) continue;
      EXPECT_TRUE(absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) << line;
    }
    return value;
  }

  metrics::Metrics metrics_;
  SimWorkerGroup group_;
  engine::Replicas engine_;
  Api api_;
};

TEST_F(ApiMetricsTest, ARequestLeavesItsNumbers) {
  v1::GenerateRequest message = Message(12);
  message.mutable_sampling_params()->set_n(2);
  for (int i = 0; i < 2; ++i) {  // the second one finds the prompt in the cache
    const auto ended = Submit(message);
    ASSERT_TRUE(ended.ok()) << ended.status();
    ASSERT_TRUE((*ended)->WaitForNotificationWithTimeout(kPatience));
  }
  // What the engine says of itself comes a moment later.
  const absl::Time patience = absl::Now() + kPatience;
  while (Value("generation_tokens_total") != 48 && absl::Now() < patience) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_EQ(Value("generation_tokens_total"), 48);
  EXPECT_EQ(Value("time_to_first_token_seconds_count"), 2);
  EXPECT_EQ(Value("inter_token_latency_seconds_count"), 2 * 2 * 11);
  EXPECT_EQ(Value("e2e_request_latency_seconds_count"), 2);
  EXPECT_GE(Value("e2e_request_latency_seconds_sum"), Value("time_to_first_token_seconds_sum"));
  EXPECT_EQ(Value("request_prompt_tokens_sum"), 80);
  EXPECT_EQ(Value("request_cached_tokens_sum"), 32) << "two full blocks";
  EXPECT_EQ(Value("request_success_total", "length"), 4);
  EXPECT_EQ(Value("request_params_max_tokens_sum"), 24);
  EXPECT_EQ(Value("workers_up"), 1);
  EXPECT_EQ(Value("cache_config_info", "block_size=\"16\",num_gpu_blocks=\"256\""), 1);
  EXPECT_GT(Value("step_seconds_count", "total"), 0);
  EXPECT_GT(Value("model_bandwidth_utilization"), 0);
  EXPECT_EQ(Value("model_flops_utilization"), -1) << "the peak is not known";
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(api_.GetServerInfo(&info).ok());
  EXPECT_GT(info.model_bandwidth_utilization(), 0);
  EXPECT_FALSE(info.has_model_flops_utilization());
}

TEST_F(ApiMetricsTest, RefusalsAreCountedOnce) {
  EXPECT_FALSE(Submit(Message(100'000)).ok());
  EXPECT_EQ(Value("requests_rejected_total", "invalid"), 1);
  group_.Hold();
  v1::GenerateRequest message = Message(4);
  message.set_request_id("twice");
  ASSERT_TRUE(Submit(message).ok());
  EXPECT_FALSE(Submit(message).ok());
  EXPECT_EQ(Value("requests_rejected_total", "duplicate_id"), 1);
  api_.Drain();
  EXPECT_FALSE(Submit(Message(4)).ok());
  EXPECT_EQ(Value("requests_rejected_total", "unavailable"), 1);
  EXPECT_EQ(Value("ready"), 0);
}

}  // namespace
}  // namespace quire::frontend
