// The API over HTTP, with a real engine, a simulated replica and real sockets.
#include "coordinator/http/endpoints.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/ascii_tokenizer.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "coordinator/http/http_client.h"
#include "coordinator/http/server.h"

namespace quire::http {
namespace {

using frontend::SimWorkerGroup;
using frontend::SimWorkerGroupOptions;
using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(30);

bool WaitFor(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  while (absl::Now() < end) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return false;
}

class EndpointsTest : public ::testing::Test {
 protected:
  void StartAll(const SimWorkerGroupOptions& group_options = {}, int64_t max_queue_len = 1024, bool formed = true) {
    group_ = std::make_unique<SimWorkerGroup>(group_options);
    if (!formed) group_->Hold();
    engine::EngineOptions options;
    options.max_num_seqs = 16;
    options.max_queue_len = max_queue_len;
    engine_ = std::make_unique<engine::Replicas>(options, std::vector<cluster::WorkerGroup*>{group_.get()});
    ASSERT_EQ(engine_->WaitUntilFormed(formed ? kPatience : absl::ZeroDuration()).ok(), formed);
    frontend::ApiOptions api_options;
    api_options.served_model_name = "sim";
    api_options.version = "1.2.3";
    api_ = std::make_unique<frontend::Api>(api_options, engine_.get(), frontend::AsciiTokenizer(testing::TempDir()));
    HttpServerOptions server_options;
    server_options.port = 0;
    absl::StatusOr<std::unique_ptr<HttpServer>> server =
        HttpServer::Start(server_options, ApiRoutes(api_.get()), nullptr);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  ~EndpointsTest() override {
    if (group_ != nullptr) group_->Release();
    if (engine_ != nullptr) engine_->Stop(absl::ZeroDuration());
  }

  // A completion of token ids: what the simulated model says depends on them and the seed.
  static json Completion(uint32_t max_tokens, bool stream) {
    return {{"prompt", {3, 4, 5}}, {"max_tokens", max_tokens}, {"stream", stream}, {"seed", 7}, {"temperature", 1.0}};
  }

  Response Ask(const std::string& path, const json& body, absl::string_view headers = "") {
    return HttpClient(server_->port()).Ask(Post(path, body.dump(), headers));
  }
  Response AskFor(const std::string& path) { return HttpClient(server_->port()).Ask(Get(path)); }

  bool IsIdle() {
    const engine::Loads loads = engine_->GetLoads();
    return api_->num_live_requests() == 0 && loads.num_running_reqs == 0 && loads.num_waiting_reqs == 0;
  }

  std::unique_ptr<SimWorkerGroup> group_;
  std::unique_ptr<engine::Replicas> engine_;
  std::unique_ptr<frontend::Api> api_;
  std::unique_ptr<HttpServer> server_;
};

const SimWorkerGroupOptions kSlow = {/*num_blocks=*/64, /*vocab_size=*/257, /*max_model_len=*/1000,
                                     /*step_time=*/absl::Milliseconds(1)};

TEST_F(EndpointsTest, AStreamAndAWholeAnswerSayTheSame) {
  StartAll();
  const Response whole = Ask("/v1/completions", Completion(40, false));
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.headers.at("content-type"), "application/json");
  const json answer = json::parse(whole.body);
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 40);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
  const Response stream = Ask("/v1/completions", Completion(40, true));
  ASSERT_EQ(stream.status, 200);
  EXPECT_TRUE(stream.complete);
  std::string text;
  const std::vector<std::string> data = EventData(stream.body);
  ASSERT_GE(data.size(), 2u);
  EXPECT_EQ(data.back(), "[DONE]");
  for (size_t i = 0; i + 1 < data.size(); ++i) text += json::parse(data[i])["choices"][0]["text"].get<std::string>();
  EXPECT_EQ(text, answer["choices"][0]["text"]);
}

TEST_F(EndpointsTest, PromptsOfABatchAreAnsweredTogether) {
  StartAll();
  json body = Completion(10, false);
  body["prompt"] = {{3, 4, 5}, {6, 7}, {8}};
  body["n"] = 2;
  const Response whole = Ask("/v1/completions", body, "X-Request-Id: batch\r\n");
  ASSERT_EQ(whole.status, 200) << whole.body;
  const json answer = json::parse(whole.body);
  ASSERT_EQ(answer["choices"].size(), 6u);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(answer["choices"][i]["index"], i);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 6);
  body["stream"] = true;
  std::vector<std::string> texts(6);
  std::vector<int> num_ends(6);
  const Response stream = Ask("/v1/completions", body);
  ASSERT_EQ(stream.status, 200) << stream.body;
  EXPECT_TRUE(stream.complete);
  for (const std::string& data : EventData(stream.body)) {
    if (data == "[DONE]") continue;
    const json event = json::parse(data);
    for (const json& choice : event["choices"]) {
      texts[choice["index"].get<size_t>()] += choice["text"].get<std::string>();
      num_ends[choice["index"].get<size_t>()] += !choice["finish_reason"].is_null();
    }
  }
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(texts[i], answer["choices"][i]["text"]) << i;
    EXPECT_EQ(num_ends[i], 1) << i;
  }
}

TEST_F(EndpointsTest, WhatIsWrongIsAnErrorBeforeAnyStream) {
  StartAll();
  const auto error_of = [this](json body) {
    body["stream"] = true;
    const Response response = Ask("/v1/completions", body);
    EXPECT_EQ(response.headers.at("content-type"), "application/json");
    json error = json::parse(response.body)["error"];
    error["status"] = response.status;
    return error;
  };
  json body = Completion(5, true);
  body["top_p"] = 1.5;
  json error = error_of(body);
  EXPECT_EQ(error["status"], 400);
  EXPECT_EQ(error["param"], "top_p");
  EXPECT_EQ(error["type"], "invalid_request_error");
  body = Completion(5, true);
  body["model"] = "other";
  error = error_of(body);
  EXPECT_EQ(error["status"], 404);
  EXPECT_EQ(error["code"], "model_not_found");
  body = Completion(2000, true);
  EXPECT_EQ(error_of(body)["code"], "context_length_exceeded");
  EXPECT_EQ(HttpClient(server_->port()).Ask(Post("/v1/completions", "{not json")).status, 400);
  // Log-probs of prompts are bounded over the whole call: 64 prompts of 800 tokens with 6 values each.
  body = Completion(5, true);
  body["prompt"] = std::vector<std::vector<int>>(64, std::vector<int>(800, 3));
  body["echo"] = true;
  body["logprobs"] = 5;
  EXPECT_EQ(error_of(body)["param"], "logprobs");
  // One of a batch: nothing of it is begun.
  body = Completion(5, true);
  body["prompt"] = {{3, 4}, {100000}};
  EXPECT_EQ(error_of(body)["status"], 400);
  EXPECT_TRUE(IsIdle());
}

TEST_F(EndpointsTest, AFullQueueIs429WithAHint) {
  StartAll({}, /*max_queue_len=*/2);
  group_->Hold();
  std::vector<std::unique_ptr<HttpClient>> clients;
  int num_refused = 0;
  // Held: what was not refused waits. Once the queue is full everything is.
  for (int i = 0; i < 40; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server_->port()));
    ASSERT_TRUE(clients.back()->Send(Post("/v1/completions", Completion(2, true).dump())));
    const Response response = clients.back()->Read(absl::Milliseconds(i < 30 ? 20 : 2000));
    if (response.status == 0) continue;
    ++num_refused;
    EXPECT_EQ(response.status, 429) << response.body;
    EXPECT_EQ(response.headers.count("retry-after"), 1u);
    EXPECT_EQ(json::parse(response.body)["error"]["code"], "rate_limit_exceeded");
    clients.pop_back();
  }
  EXPECT_GT(num_refused, 0);
  group_->Release();
  for (const auto& client : clients) EXPECT_EQ(client->Read().status, 200);
}

TEST_F(EndpointsTest, AClientThatLeavesFreesItsRequests) {
  StartAll(kSlow);
  for (const bool stream : {true, false}) {
    json body = Completion(900, stream);
    body["prompt"] = {{3, 4, 5}, {6}};
    HttpClient client(server_->port());
    ASSERT_TRUE(client.Send(Post("/v1/completions", body.dump())));
    if (stream) {
      ASSERT_TRUE(client.ReadUntil("data: "));
    }
    ASSERT_TRUE(WaitFor([this] { return engine_->GetLoads().num_running_reqs == 2; }));
    client.Close();
    EXPECT_TRUE(WaitFor([this] { return IsIdle(); }));
  }
}

TEST_F(EndpointsTest, AStreamThatFailsAfterItBeganEndsWithAnError) {
  StartAll(kSlow);
  HttpClient client(server_->port());
  ASSERT_TRUE(client.Send(Post("/v1/completions", Completion(900, true).dump(), "X-Request-Id: mine\r\n")));
  ASSERT_TRUE(client.ReadUntil("data: "));
  engine_->Stop(absl::ZeroDuration());
  const Response response = client.Read();
  EXPECT_TRUE(response.complete);
  const std::vector<std::string> data = EventData(response.body);
  const json error = json::parse(data.back())["error"];
  EXPECT_TRUE(absl::StrContains(error["message"].get<std::string>(), "shutting down")) << error;
  EXPECT_EQ(error["type"], "server_error");
  const Response refused = Ask("/v1/completions", Completion(5, true));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.count("retry-after"), 1u);
}

TEST_F(EndpointsTest, TheRequestIdOfTheHeaderIsTheLabel) {
  StartAll();
  group_->Hold();
  HttpClient first(server_->port());
  ASSERT_TRUE(first.Send(Post("/v1/completions", Completion(5, false).dump(), "X-Request-Id: twice\r\n")));
  ASSERT_TRUE(WaitFor([this] { return api_->num_live_requests() == 1; }));
  const Response second = Ask("/v1/completions", Completion(5, false), "X-Request-Id: twice\r\n");
  EXPECT_EQ(second.status, 409);
  EXPECT_EQ(second.headers.at("x-request-id"), "twice");
  group_->Release();
  const Response response = first.Read();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(json::parse(response.body)["id"], "cmpl-twice");
}

TEST_F(EndpointsTest, TheSmallRoutesAnswer) {
  StartAll();
  EXPECT_EQ(AskFor("/health").status, 200);
  EXPECT_EQ(AskFor("/ping").status, 200);
  EXPECT_EQ(AskFor("/ready").status, 200);
  EXPECT_EQ(json::parse(AskFor("/version").body)["version"], "1.2.3");
  EXPECT_EQ(json::parse(AskFor("/load").body)["server_load"], 0);
  const json models = json::parse(AskFor("/v1/models").body);
  EXPECT_EQ(models["data"][0]["id"], "sim");
  EXPECT_EQ(json::parse(AskFor("/v1/models/sim").body)["id"], "sim");
  EXPECT_EQ(AskFor("/v1/models/other").status, 404);
  const json tokens = json::parse(Ask("/tokenize", {{"prompt", "a b"}}).body);
  EXPECT_EQ(tokens["count"], 3);
  EXPECT_EQ(tokens["max_model_len"], 1024);
  EXPECT_EQ(tokens["tokens"], json({'a' - 31, 1, 'b' - 31}));
  EXPECT_EQ(json::parse(Ask("/detokenize", {{"tokens", tokens["tokens"]}}).body)["prompt"], "a b");
  EXPECT_EQ(Ask("/detokenize", {{"tokens", {257}}}).status, 400);
  EXPECT_EQ(Ask("/tokenize", {{"prompt", "a"}, {"model", "other"}}).status, 404);
  EXPECT_EQ(AskFor("/v1/completions").status, 405);
  EXPECT_EQ(AskFor("/").status, 200);
  EXPECT_EQ(AskFor("/status").status, 200);
  EXPECT_EQ(AskFor("/metrics").status, 404) << "this server observes nothing";
  EXPECT_EQ(AskFor("/nothing").status, 404);
}

TEST_F(EndpointsTest, NotReadyWhileLoadingAndWhileDraining) {
  StartAll({}, 1024, /*formed=*/false);
  EXPECT_EQ(AskFor("/health").status, 200);
  EXPECT_EQ(AskFor("/ready").status, 503);
  EXPECT_EQ(Ask("/v1/completions", Completion(5, true)).status, 503);
  EXPECT_EQ(AskFor("/v1/models").status, 503);
  group_->Release();
  EXPECT_TRUE(WaitFor([this] { return AskFor("/ready").status == 200; }));
  EXPECT_EQ(Ask("/v1/completions", Completion(5, true)).status, 200);
  api_->Drain();
  EXPECT_EQ(AskFor("/ready").status, 503);
  EXPECT_EQ(AskFor("/health").status, 200);
  EXPECT_EQ(Ask("/v1/completions", Completion(5, true)).status, 503);
}

}  // namespace
}  // namespace quire::http
