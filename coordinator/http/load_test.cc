// Many streams at once on few threads: none loses an event, and a client that never reads costs the others nothing but
// its own output.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/ascii_tokenizer.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "coordinator/http/endpoints.h"
#include "coordinator/http/http_client.h"
#include "coordinator/http/server.h"

namespace quire::http {
namespace {

using nlohmann::json;

constexpr int kStreams = 2000;
constexpr int kSeeds = 20;  // streams of one seed must say the same
constexpr int kTokens = 50;
constexpr absl::Duration kPatience = absl::Seconds(120);

bool WaitFor(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  while (absl::Now() < end) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return false;
}

int64_t ResidentBytes() {
  long pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  const bool read = file != nullptr && std::fscanf(file, "%ld %ld", &pages, &resident) == 2;
  if (file != nullptr) std::fclose(file);
  return read ? resident * sysconf(_SC_PAGESIZE) : 0;
}

class LoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Both ends of every connection are in this process.
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ASSERT_GE(limit.rlim_max, 2u * kStreams + 200u) << "raise it with ulimit -Hn";
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    frontend::SimWorkerGroupOptions group_options;
    group_options.num_blocks = 4 * kStreams + 4096;
    group_options.max_model_len = 4096;
    group_options.step_time = absl::Milliseconds(10);  // so that tokens come one by one
    group_ = std::make_unique<frontend::SimWorkerGroup>(group_options);
    engine::EngineOptions options;
    options.max_num_seqs = kStreams + 48;
    options.max_num_batched_tokens = 4096;
    options.max_queue_len = 2 * kStreams;
    engine_ = std::make_unique<engine::Replicas>(options, std::vector<cluster::WorkerGroup*>{group_.get()});
    ASSERT_TRUE(engine_->WaitUntilFormed(kPatience).ok());
    frontend::ApiOptions api_options;
    api_options.served_model_name = "sim";
    api_options.max_num_batched_tokens = options.max_num_batched_tokens;
    api_ = std::make_unique<frontend::Api>(api_options, engine_.get(), frontend::AsciiTokenizer(testing::TempDir()));
    HttpServerOptions server_options;
    server_options.port = 0;
    server_options.stall_timeout = absl::Seconds(2);
    absl::StatusOr<std::unique_ptr<HttpServer>> server =
        HttpServer::Start(server_options, ApiRoutes(api_.get()), nullptr);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void TearDown() override {
    if (group_ != nullptr) group_->Release();
    if (engine_ != nullptr) engine_->Stop(absl::ZeroDuration());
  }

  static std::string Request(int seed, int tokens, bool stream) {
    const json body = {
        {"prompt", {3, 4, 5}}, {"max_tokens", tokens}, {"stream", stream}, {"seed", seed}, {"ignore_eos", true}};
    return Post("/v1/completions", body.dump());
  }

  static std::string TextOf(const std::string& body) {
    std::string text;
    for (const std::string& data : EventData(body)) {
      if (data == "[DONE]") continue;
      const json event = json::parse(data);
      text += event["choices"][0]["text"].get<std::string>();
    }
    return text;
  }

  absl::Duration AskAll(int count, const std::string& expected);

  std::unique_ptr<frontend::SimWorkerGroup> group_;
  std::unique_ptr<engine::Replicas> engine_;
  std::unique_ptr<frontend::Api> api_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(LoadTest, TwoThousandStreamsLoseNoEvent) {
  std::vector<std::string> expected;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const Response whole = HttpClient(server_->port()).Ask(Request(seed, kTokens, false));
    ASSERT_EQ(whole.status, 200) << whole.body;
    const json answer = json::parse(whole.body);
    expected.push_back(answer["choices"][0]["text"]);
  }
  EXPECT_NE(expected[0], expected[1]);
  group_->Hold();
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<HttpClient>(server_->port()));
    ASSERT_TRUE(clients.back()->Send(Request(i % kSeeds, kTokens, true)));
  }
  ASSERT_TRUE(WaitFor([this] { return api_->num_live_requests() == kStreams; })) << api_->num_live_requests();
  const int64_t each = (ResidentBytes() - before) / kStreams;
  const absl::Time start = absl::Now();
  group_->Release();
  int num_whole = 0;
  size_t num_events = 0;
  for (int i = 0; i < kStreams; ++i) {
    const Response response = clients[i]->Read(kPatience);
    ASSERT_EQ(response.status, 200) << i;
    const std::vector<std::string> data = EventData(response.body);
    num_events += data.size();
    num_whole += response.complete && !data.empty() && data.back() == "[DONE]";
    EXPECT_EQ(TextOf(response.body), expected[i % kSeeds]) << "stream " << i;
  }
  EXPECT_EQ(num_whole, kStreams);
  std::cout << kStreams << " streams of " << kTokens << " tokens, " << num_events << " events in "
            << absl::Now() - start << ", " << each / 1024
            << " KiB of this process for each that waits, both ends and the engine's part\n";
  EXPECT_LT(each, 256 << 10);
}

// Answers one after the other, whole; the 99th percentile of what one takes.
absl::Duration LoadTest::AskAll(int count, const std::string& expected) {
  std::vector<absl::Duration> times;
  HttpClient client(server_->port());
  for (int i = 0; i < count; ++i) {
    const absl::Time start = absl::Now();
    const Response response = client.Ask(Request(7, 8, true));
    times.push_back(absl::Now() - start);
    EXPECT_TRUE(response.complete);
    EXPECT_EQ(TextOf(response.body), expected);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() * 99 / 100];
}

TEST_F(LoadTest, ClientsThatNeverReadHurtNobody) {
  const json answer = json::parse(HttpClient(server_->port()).Ask(Request(7, 8, false)).body);
  const std::string expected = answer["choices"][0]["text"];
  const absl::Duration alone = AskAll(100, expected);
  const int64_t before = ResidentBytes();
  std::vector<std::unique_ptr<HttpClient>> deaf;
  for (int i = 0; i < 4; ++i) {
    deaf.push_back(std::make_unique<HttpClient>(server_->port(), /*receive_buffer_bytes=*/4096));
    ASSERT_TRUE(deaf.back()->Send(Request(1, 4000, true)));
  }
  ASSERT_TRUE(WaitFor([this] { return api_->num_live_requests() == 4; }));
  const absl::Duration beside = AskAll(100, expected);
  std::cout << "p99 of an answer of 8 tokens: " << alone << " alone, " << beside << " beside four that never read\n";
  // A connection goes once it has taken nothing for stall_timeout; its request with it, if it still runs.
  EXPECT_TRUE(WaitFor([this] { return server_->num_connections() == 0; }));
  EXPECT_EQ(api_->num_live_requests(), 0);
  EXPECT_LT(ResidentBytes() - before, 64 << 20);
}

}  // namespace
}  // namespace quire::http
