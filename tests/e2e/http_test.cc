// The HTTP edge of real processes: both edges say the same, clients that leave, and the end of a server.
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/http/http_client.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

using http::EventData;
using http::HttpClient;
using http::Response;

std::string Completion(const std::string& prompt, int max_tokens, bool stream) {
  return absl::StrCat(R"({"prompt": ")", prompt, R"(", "temperature": 0, "ignore_eos": true, "max_tokens": )",
                      max_tokens, R"(, "stream": )", stream ? "true" : "false", "}");
}

std::string Post(const std::string& prompt, int max_tokens, bool stream) {
  return http::Post("/v1/completions", Completion(prompt, max_tokens, stream));
}

int StatusOf(int port, const std::string& path) { return HttpClient(port).Ask(http::Get(path)).status; }

// Holds a coordinator's only worker, so that what runs still runs when the test has looked.
class HeldWorker {
 public:
  explicit HeldWorker(Cluster* cluster) : worker_(ChildrenOf(cluster->coordinator().pid()).at(0)) {
    kill(worker_, SIGSTOP);
  }
  ~HeldWorker() { kill(worker_, SIGCONT); }

 private:
  const pid_t worker_;
};

// The text of every event, without parsing more JSON than this test wrote down.
std::string TextOf(const std::string& body) {
  std::string text;
  for (const std::string& data : EventData(body)) {
    const std::string key = R"("text":")";
    const size_t begin = data.find(key);
    if (begin == std::string::npos) continue;
    const size_t end = data.find("\",\"logprobs\"", begin);
    text += data.substr(begin + key.size(), end - begin - key.size());
  }
  return text;
}

TEST(Http, BothEdgesSayTheSame) {
  Cluster cluster({"--workers=local:2"});
  quire::v1::GenerateRequest request = TextRequest("The little dog", 30);
  request.mutable_sampling_params()->set_ignore_eos(true);
  const Output grpc = cluster.Generate(request);
  ASSERT_TRUE(grpc.ok()) << grpc.status.error_message();
  const Response stream = HttpClient(cluster.http_port()).Ask(Post("The little dog", 30, true));
  ASSERT_EQ(stream.status, 200) << stream.body;
  EXPECT_TRUE(stream.complete);
  EXPECT_EQ(EventData(stream.body).back(), "[DONE]");
  EXPECT_EQ(TextOf(stream.body), grpc.streamed_text[0]);
  EXPECT_FALSE(grpc.streamed_text[0].empty());
}

TEST(Http, ClientsThatLeaveLetGo) {
  Cluster cluster({"--workers=local:1", "--max_num_seqs=16"});
  for (int i = 0; i < 60; ++i) {
    HttpClient client(cluster.http_port());
    ASSERT_TRUE(client.Send(Post("Once upon a time", 400, i % 2 == 0)));
    if (i % 4 == 0) {
      ASSERT_TRUE(client.ReadUntil("data: "));
    }
  }
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(20))) << cluster.Loads().ShortDebugString();
}

TEST(Http, AfterSigtermTheRunningEndsAndNothingBegins) {
  Cluster cluster({"--workers=local:1", "--shutdown_timeout=60s"});
  const int port = cluster.http_port();
  EXPECT_EQ(StatusOf(port, "/ready"), 200);
  HttpClient client(port);
  ASSERT_TRUE(client.Send(Post("Once upon a time", 600, true)));
  ASSERT_TRUE(client.ReadUntil("data: "));
  {
    const HeldWorker held(&cluster);
    cluster.coordinator().Signal(SIGTERM);
    EXPECT_TRUE(Await([&] { return StatusOf(port, "/ready") == 503; }, absl::Seconds(10)));
    EXPECT_EQ(StatusOf(port, "/health"), 200);
    EXPECT_TRUE(Await([&] { return cluster.Health("ready") == "NOT_SERVING"; }, absl::Seconds(10)));
    const Response refused = HttpClient(port).Ask(Post("A", 1, true));
    EXPECT_EQ(refused.status, 503);
    EXPECT_TRUE(absl::StrContains(refused.body, "shutting down")) << refused.body;
    EXPECT_EQ(refused.headers.count("retry-after"), 1u);
    EXPECT_EQ(cluster.Generate(TextRequest("A", 1)).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  const Response response = client.Read(absl::Seconds(60));
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(EventData(response.body).back(), "[DONE]") << "the stream that ran is whole";
  EXPECT_EQ(cluster.coordinator().Wait(absl::Seconds(20)), 0) << cluster.coordinator().Log();
}

TEST(Http, WhatDoesNotEndInTimeIsToldToGoElsewhere) {
  Cluster cluster({"--workers=local:1", "--shutdown_timeout=300ms"});
  HttpClient client(cluster.http_port());
  ASSERT_TRUE(client.Send(Post("Once upon a time", 1000, true)));
  ASSERT_TRUE(client.ReadUntil("data: "));
  auto held = std::make_unique<HeldWorker>(&cluster);
  grpc::Status status;
  std::thread running([&] { status = cluster.Generate(TextRequest("Once upon a time", 1000)).status; });
  ASSERT_TRUE(Await([&] { return cluster.Loads().num_running_reqs() + cluster.Loads().num_waiting_reqs() == 2; },
                    absl::Seconds(10)));
  cluster.coordinator().Signal(SIGTERM);
  const Response response = client.Read();
  EXPECT_TRUE(response.complete) << "an end, not a cut";
  EXPECT_TRUE(absl::StrContains(EventData(response.body).back(), "send the request again elsewhere")) << response.body;
  running.join();
  held.reset();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
  EXPECT_EQ(cluster.coordinator().Wait(absl::Seconds(20)), 0) << cluster.coordinator().Log();
}

TEST(Http, ASecondSignalEndsAtOnce) {
  Cluster cluster({"--workers=local:1", "--shutdown_timeout=1h"});
  HttpClient client(cluster.http_port());
  ASSERT_TRUE(client.Send(Post("Once upon a time", 1000, true)));
  ASSERT_TRUE(client.ReadUntil("data: "));
  const HeldWorker held(&cluster);
  cluster.coordinator().Signal(SIGTERM);
  ASSERT_TRUE(Await([&] { return StatusOf(cluster.http_port(), "/ready") == 503; }, absl::Seconds(10)));
  cluster.coordinator().Signal(SIGTERM);
  EXPECT_EQ(cluster.coordinator().Wait(absl::Seconds(10)), 128 + SIGTERM);
}

}  // namespace
}  // namespace quire::e2e
