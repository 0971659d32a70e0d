// The page, its policy and the JSON that it draws, over a real engine and a simulated replica.
#include "coordinator/http/monitor/monitor.h"

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "coordinator/http/monitor/status_json.h"
#include "coordinator/http/monitor/status_page.h"
#include "coordinator/metrics/metrics.h"
#include "proto/generate.pb.h"

namespace quire::http {
namespace {

using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(30);
// Of one replica; a page that polls every second must cost next to nothing.
constexpr size_t kMostBytes = 32 << 10;

class FakeExchange final : public Exchange {
 public:
  const Request& request() const override { return request_; }
  void ForgetBody() override {}
  void Post(std::function<void()>) override { ADD_FAILURE(); }
  void Reply(int status, absl::string_view content_type, std::string body, Headers extra) override {
    this->status = status;
    this->content_type = std::string(content_type);
    this->body = std::move(body);
    headers = std::move(extra);
  }
  void StartEvents(Headers) override { ADD_FAILURE(); }
  void WriteEvents(std::string, std::function<void(bool)>) override { ADD_FAILURE(); }
  void End() override { ADD_FAILURE(); }
  void OnGone(std::function<void()>) override {}

  std::string Header(const std::string& name) const {
    for (const auto& [key, value] : headers) {
      if (key == name) return value;
    }
    return "";
  }

  int status = 0;
  std::string content_type;
  std::string body;
  Headers headers;

 private:
  Request request_;
};

class EndSink final : public engine::RequestSink {
 public:
  explicit EndSink(std::shared_ptr<absl::Notification> ended) : ended_(std::move(ended)) {}
  void OnDelta(const engine::ChoiceDelta&) override {}
  void OnEnd(const absl::Status&, const engine::RequestTiming&) override { ended_->Notify(); }

 private:
  const std::shared_ptr<absl::Notification> ended_;
};

class MonitorTest : public ::testing::Test {
 protected:
  explicit MonitorTest(const std::string& model = "sim")
      : metrics_({model, "1"}), group_({}), engine_({}, {&group_}), api_(Options(model), &engine_, nullptr) {
    EXPECT_TRUE(engine_.WaitUntilFormed(kPatience).ok());
  }
  ~MonitorTest() override { engine_.Stop(absl::ZeroDuration()); }

  frontend::ApiOptions Options(const std::string& model) {
    frontend::ApiOptions options;
    options.served_model_name = model;
    options.metrics = &metrics_;
    return options;
  }

  void RunOne(uint32_t max_tokens) {
    v1::GenerateRequest message;
    for (uint32_t id = 3; id < 43; ++id) message.mutable_tokenized()->add_input_ids(id);
    message.mutable_sampling_params()->set_max_tokens(max_tokens);
    message.mutable_sampling_params()->set_ignore_eos(true);
    absl::StatusOr<frontend::Prepared> prepared = api_.Prepare(message, {}, absl::InfiniteFuture());
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    auto ended = std::make_shared<absl::Notification>();
    ASSERT_TRUE(api_.Submit(*std::move(prepared), std::make_unique<EndSink>(ended)).ok());
    ASSERT_TRUE(ended->WaitForNotificationWithTimeout(kPatience));
  }

  json Status() {
    auto exchange = std::make_shared<FakeExchange>();
    ServeStatus(&api_, exchange);
    EXPECT_EQ(exchange->status, 200);
    EXPECT_EQ(exchange->content_type, "application/json");
    EXPECT_LT(exchange->body.size(), kMostBytes);
    return json::parse(exchange->body, nullptr, /*allow_exceptions=*/false);
  }

  metrics::Metrics metrics_;
  frontend::SimWorkerGroup group_;
  engine::Replicas engine_;
  frontend::Api api_;
};

TEST_F(MonitorTest, StatusTellsWhatRan) {
  EXPECT_EQ(Status()["first_token"]["count"], 0);
  RunOne(200);
  // The engine publishes a moment later, and draws the map between two looks.
  const absl::Time patience = absl::Now() + kPatience;
  json status = Status();
  while ((status["generation_tokens"] != 200 || status["replicas"][0]["ranks"][0]["used"] != 0 ||
          status["replicas"][0]["map"]["blocks"] != 256 || status["replicas"][0]["map"]["cached"][0] != 1) &&
         absl::Now() < patience) {
    absl::SleepFor(absl::Milliseconds(10));
    status = Status();
  }
  EXPECT_EQ(status["model"], "sim");
  EXPECT_EQ(status["ready"], true);
  EXPECT_EQ(status["generation_tokens"], 200);
  EXPECT_EQ(status["first_token"]["count"], 1);
  EXPECT_EQ(status["token"]["count"], 1);
  EXPECT_TRUE(status["use"]["bandwidth"].is_null());
  const json& replica = status["replicas"][0];
  EXPECT_EQ(replica["formed"], true);
  EXPECT_EQ(replica["ranks"].size(), 1u);
  EXPECT_EQ(replica["steps"].size(), 120u) << "the last ones";
  EXPECT_EQ(replica["map"]["used"].size(), 256u);
  EXPECT_EQ(replica["map"]["cached"][0], 1) << "the prompt's first block";
}

TEST_F(MonitorTest, ThePageAsksNobodyElse) {
  auto exchange = std::make_shared<FakeExchange>();
  ServeStatusPage(exchange);
  EXPECT_EQ(exchange->status, 200);
  EXPECT_TRUE(absl::StartsWith(exchange->body, "<!doctype html>"));
  EXPECT_TRUE(absl::EndsWith(exchange->body, "</html>\n"));
  const std::string policy = exchange->Header("Content-Security-Policy");
  for (const char* part : {"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "connect-src 'self'",
                           "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"}) {
    EXPECT_TRUE(absl::StrContains(policy, part)) << policy;
  }
  EXPECT_FALSE(absl::StrContains(policy, "unsafe")) << policy;
  // The only URLs are the names of SVG's grammar.
  std::string rest = exchange->body;
  for (size_t at = rest.find("://"); at != std::string::npos; at = rest.find("://", at + 1)) {
    EXPECT_EQ(rest.substr(at + 3, 14), "www.w3.org/200") << rest.substr(at - 10, 60);
  }
  for (const char* way :
       {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "onclick="}) {
    EXPECT_FALSE(absl::StrContains(exchange->body, way)) << way;
  }
}

TEST_F(MonitorTest, MetricsAreText) {
  RunOne(3);
  auto exchange = std::make_shared<FakeExchange>();
  ServeMetrics(&api_, exchange);
  EXPECT_EQ(exchange->status, 200);
  EXPECT_TRUE(absl::StartsWith(exchange->content_type, "text/plain; version=0.0.4"));
  EXPECT_TRUE(absl::StrContains(exchange->body, "quire_request_generation_tokens_sum{model_name=\"sim\"} 3\n"))
      << exchange->body;
}

class OddNameTest : public MonitorTest {
 protected:
  OddNameTest() : MonitorTest("</script>\xff\"\n") {}
};

TEST_F(OddNameTest, NamesStayData) { EXPECT_EQ(Status()["model"], "</script>\xef\xbf\xbd\"\n"); }

}  // namespace
}  // namespace quire::http
