// Several replicas behind one coordinator: conversations keep their caches, a killed replica's streams go on in another
// one with the same bytes, and it takes part again when it is back.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

constexpr int kNumConversations = 18;
constexpr int kNumAtOnce = 6;
constexpr int kNumTurns = 6;
constexpr absl::Duration kLong = absl::Seconds(60);

std::vector<std::string> Flags(int workers, int ranks) {
  // One thread each: the same bytes whatever the number of workers, and no quarrel about cores.
  return {absl::StrCat("--workers=local:", workers), absl::StrCat("--tensor_parallel_size=", ranks),
          "--worker_threads=1"};
}

std::vector<uint32_t> Ids(std::mt19937* random, size_t count) {
  std::vector<uint32_t> ids(count);
  for (uint32_t& id : ids) id = 10 + (*random)() % 1000;
  return ids;
}

struct Trace {
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  std::vector<std::string> answers;  // of all conversations, in order
};

// Conversations over a common beginning, several at once; each turn's prompt is all that was said before and something
// new.
Trace RunConversations(Cluster* cluster) {
  std::mt19937 common_random(1);
  const std::vector<uint32_t> system = Ids(&common_random, 48);
  std::atomic<int> next{0};
  std::atomic<uint64_t> prompt_tokens{0}, cached_tokens{0};
  Trace trace;
  trace.answers.resize(kNumConversations);
  std::vector<std::thread> clients;
  for (int t = 0; t < kNumAtOnce; ++t) {
    clients.emplace_back([&] {
      for (int c = next++; c < kNumConversations; c = next++) {
        std::mt19937 random(100 + c);
        std::vector<uint32_t> said = system;
        for (int turn = 0; turn < kNumTurns; ++turn) {
          const std::vector<uint32_t> user = Ids(&random, 20 + random() % 60);
          said.insert(said.end(), user.begin(), user.end());
          quire::v1::GenerateRequest request = IdsRequest(said, 16 + random() % 32);
          request.mutable_sampling_params()->set_ignore_eos(true);
          const Output out = cluster->Generate(request);
          EXPECT_TRUE(out.ok()) << out.status.error_message();
          if (!out.ok()) return;
          trace.answers[c] += Fingerprint(out);
          prompt_tokens += said.size();
          cached_tokens += out.choices[0].cached_tokens();
          said.insert(said.end(), out.choices[0].output_ids().begin(), out.choices[0].output_ids().end());
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  trace.prompt_tokens = prompt_tokens;
  trace.cached_tokens = cached_tokens;
  return trace;
}

// Waits until all replicas are there.
bool AwaitAllFormed(Cluster* cluster) {
  return Await(
      [&] {
        const quire::v1::GetLoadsResponse loads = cluster->Loads();
        for (const auto& replica : loads.replicas()) {
          if (!replica.formed()) return false;
        }
        return true;
      },
      kLong);
}

TEST(Replicas, ConversationsKeepTheirCaches) {
  Trace one, two;
  {
    Cluster cluster(Flags(1, 1));
    one = RunConversations(&cluster);
  }
  {
    Cluster cluster(Flags(2, 1));
    ASSERT_TRUE(AwaitAllFormed(&cluster));
    two = RunConversations(&cluster);
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    ASSERT_EQ(loads.replicas_size(), 2);
    EXPECT_EQ(loads.ranks_size(), 2);
    for (const auto& replica : loads.replicas()) {
      EXPECT_GT(replica.generation_tokens_total(), loads.generation_tokens_total() / 5) << "one does all the work";
    }
  }
  ASSERT_GT(one.cached_tokens, 0u);
  const double kept = static_cast<double>(two.cached_tokens) / static_cast<double>(one.cached_tokens);
  std::printf("%d conversations of %d turns, %llu prompt tokens: cached %llu by one replica, %llu by two (%.1f %%)\n",
              kNumConversations, kNumTurns, static_cast<unsigned long long>(one.prompt_tokens),
              static_cast<unsigned long long>(one.cached_tokens), static_cast<unsigned long long>(two.cached_tokens),
              kept * 100);
  EXPECT_GE(kept, 0.9);
  EXPECT_EQ(two.answers, one.answers);
}

std::vector<quire::v1::GenerateRequest> Requests() {
  std::vector<quire::v1::GenerateRequest> out;
  std::mt19937 random(7);
  for (int i = 0; i < 24; ++i) {
    const int prompt_tokens = 5 + random() % 80;
    const int max_tokens = 100 + random() % 200;
    out.push_back(IdsRequest(Ids(&random, prompt_tokens), max_tokens));
    quire::v1::SamplingParams* params = out.back().mutable_sampling_params();
    params->set_ignore_eos(true);
    params->set_logprobs(1);
    if (i % 3 == 0) continue;
    params->set_temperature(0.8f);
    params->set_seed(i);
    if (i % 3 == 2) params->set_n(2);
  }
  return out;
}

TEST(Replicas, StreamsOfAKilledReplicaGoOnElsewhere) {
  Cluster cluster(Flags(2, 1));
  cluster.ExpectLosses();
  ASSERT_TRUE(AwaitAllFormed(&cluster));
  const std::vector<quire::v1::GenerateRequest> requests = Requests();
  std::vector<std::string> undisturbed;
  for (const auto& request : requests) undisturbed.push_back(Fingerprint(cluster.Generate(request)));

  for (size_t victim = 0; victim < 2; ++victim) {
    std::vector<Output> out(requests.size());
    std::vector<std::thread> clients;
    const uint64_t tokens_before = cluster.Loads().generation_tokens_total();
    for (size_t i = 0; i < requests.size(); ++i)
      clients.emplace_back([&, i] { out[i] = cluster.Generate(requests[i]); });
    EXPECT_TRUE(
        Await([&] { return cluster.Loads().generation_tokens_total() > tokens_before + 400; }, absl::Seconds(30)));
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    for (const auto& replica : loads.replicas()) EXPECT_GT(replica.num_running_reqs(), 0u);
    const std::vector<pid_t> ranks = ChildrenOf(cluster.coordinator().pid());
    EXPECT_EQ(ranks.size(), 2u);
    if (ranks.size() == 2) kill(ranks[victim], SIGKILL);
    for (std::thread& t : clients) t.join();
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(Fingerprint(out[i]), undisturbed[i]) << "stream " << i << ": " << out[i].status.error_message();
    }
    EXPECT_EQ(cluster.Health("ready"), "SERVING");
    EXPECT_TRUE(AwaitAllFormed(&cluster)) << "the killed replica does not come back";
  }
  EXPECT_TRUE(absl::StrContains(cluster.coordinator().Log(), "go on elsewhere")) << "nothing moved";
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  grpc::ClientContext context;
  quire::v1::GetServerInfoResponse info;
  ASSERT_TRUE(cluster.stub()->GetServerInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.tensor_parallel_size(), 1u);
  ASSERT_EQ(info.replicas_size(), 2);
  for (const auto& replica : info.replicas()) {
    EXPECT_TRUE(replica.formed());
    EXPECT_EQ(replica.backends_size(), 1);
  }
}

TEST(Replicas, WorkersThatDoNotDivideAreAStartUpError) {
  const std::string dir = TestDir("cluster");
  Process process({CoordinatorBinary(), "--grpc_port=0", "--port=-1", absl::StrCat("--model=", kDemoModel),
                   "--workers=local:3", "--tensor_parallel_size=2"},
                  dir + "/log");
  EXPECT_EQ(process.Wait(absl::Seconds(30)), 1);
  EXPECT_TRUE(absl::StrContains(process.Log(), "3 worker(s)") && absl::StrContains(process.Log(), "_size=2"))
      << process.Log();
}

}  // namespace
}  // namespace quire::e2e
