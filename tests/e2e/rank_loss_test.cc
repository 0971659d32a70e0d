// kill -9 of a rank in mid-stream: the replica forms again and every stream goes on without a lost, repeated or
// changed token.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

std::vector<quire::v1::GenerateRequest> Requests() {
  std::vector<quire::v1::GenerateRequest> out;
  for (int i = 0; i < 8; ++i) {
    out.push_back(TextRequest(i % 2 == 0 ? "Once upon a time" : "The little dog", 300));
    out.back().mutable_sampling_params()->set_ignore_eos(true);
    out.back().mutable_sampling_params()->set_logprobs(1);
    if (i % 3 != 0) {
      out.back().mutable_sampling_params()->set_temperature(0.9f);
      out.back().mutable_sampling_params()->set_seed(i);
    }
  }
  return out;
}

TEST(RankLoss, StreamsGoOnWithTheSameBytes) {
  Cluster cluster({"--workers=local:2"});
  cluster.ExpectLosses();
  const std::vector<quire::v1::GenerateRequest> requests = Requests();
  std::vector<std::string> undisturbed;
  for (const auto& request : requests) undisturbed.push_back(Fingerprint(cluster.Generate(request)));

  for (int victim = 0; victim < 2; ++victim) {
    std::vector<Output> out(requests.size());
    std::vector<std::thread> clients;
    const uint64_t tokens_before = cluster.Loads().generation_tokens_total();
    for (size_t i = 0; i < requests.size(); ++i)
      clients.emplace_back([&, i] { out[i] = cluster.Generate(requests[i]); });
    ASSERT_TRUE(
        Await([&] { return cluster.Loads().generation_tokens_total() > tokens_before + 200; }, absl::Seconds(30)));
    const std::vector<pid_t> ranks = ChildrenOf(cluster.coordinator().pid());
    ASSERT_EQ(ranks.size(), 2u);
    kill(ranks[victim], SIGKILL);
    for (std::thread& t : clients) t.join();
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(Fingerprint(out[i]), undisturbed[i]) << "stream " << i << ": " << out[i].status.error_message();
    }
    EXPECT_EQ(cluster.Health("ready"), "SERVING");
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(5)));
  }
}

TEST(RankLoss, AStoppedRankIsFoundByItsDeadline) {
  Cluster cluster({"--workers=local:2", "--step_deadline=1500ms"});
  cluster.ExpectLosses();
  const std::string undisturbed = Fingerprint(cluster.Generate(Requests()[0]));
  Output out;
  std::thread client([&] { out = cluster.Generate(Requests()[0]); });
  ASSERT_TRUE(Await([&] { return cluster.Loads().num_running_reqs() == 1; }, absl::Seconds(10)));
  const std::vector<pid_t> ranks = ChildrenOf(cluster.coordinator().pid());
  ASSERT_EQ(ranks.size(), 2u);
  kill(ranks[1], SIGSTOP);
  client.join();
  EXPECT_EQ(Fingerprint(out), undisturbed) << out.status.error_message();
}

}  // namespace
}  // namespace quire::e2e
