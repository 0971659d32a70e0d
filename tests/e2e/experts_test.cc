// Mixtures of experts over processes: however many ranks there are, whether they share out every expert or the experts,
// and whatever the batch, a request gets the same tokens and log-probs; and the flag is refused where it does not fit.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

std::string ModelFlag(const std::string& model) { return absl::StrCat("--model=tests/goldens/", model); }

std::vector<quire::v1::GenerateRequest> MixedRequests() {
  std::mt19937 rng(3);
  std::vector<quire::v1::GenerateRequest> requests;
  for (int i = 0; i < 48; ++i) {
    const int length = 1 + static_cast<int>(rng() % 90);
    std::vector<uint32_t> ids;
    for (int k = 0; k < length; ++k) ids.push_back(3 + rng() % 64);
    quire::v1::GenerateRequest request = IdsRequest(ids, 40);
    quire::v1::SamplingParams* p = request.mutable_sampling_params();
    p->set_ignore_eos(true);
    p->set_logprobs(2);
    if (i % 3 == 1) p->set_temperature(0.9f), p->set_seed(100 + i);
    requests.push_back(request);
  }
  return requests;
}

// Ids and log-probs, all at once.
std::vector<std::string> Answers(const std::vector<std::string>& flags) {
  Cluster cluster(flags);
  const std::vector<quire::v1::GenerateRequest> requests = MixedRequests();
  std::vector<std::string> answers(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] {
      const Output out = cluster.Generate(requests[i]);
      EXPECT_TRUE(out.ok()) << out.status.error_message();
      answers[i] = Fingerprint(out);
    });
  }
  for (std::thread& client : clients) client.join();
  return answers;
}

class ExpertsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ExpertsTest, SameBytesHoweverTheRanksShare) {
  const std::vector<std::string> alone =
      Answers({ModelFlag(GetParam()), "--skip_tokenizer_init", "--workers=local:1", "--max_num_seqs=1"});
  for (const std::string& answer : alone) ASSERT_GT(answer.size(), 100u);
  for (const int ranks : {1, 2, 4}) {
    for (const bool expert_parallel : {false, true}) {
      const std::vector<std::string> answers =
          Answers({ModelFlag(GetParam()), "--skip_tokenizer_init", absl::StrCat("--workers=local:", ranks),
                   absl::StrCat("--enable_expert_parallel=", expert_parallel ? "true" : "false")});
      for (size_t i = 0; i < alone.size(); ++i) {
        EXPECT_EQ(answers[i], alone[i]) << ranks << " ranks, expert parallel " << expert_parallel << ", request " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ExpertsTest, ::testing::Values("mixtral", "qwen2_moe"),
                         [](const auto& info) { return std::string(info.param); });

TEST(ExpertParallelTest, IsRefusedWithoutExperts) {
  const std::string dir = TestDir("no_experts");
  Process coordinator({CoordinatorBinary(), ModelFlag("llama_gqa"), "--skip_tokenizer_init", "--grpc_port=0",
                       "--port=-1", "--workers=local:2", "--enable_expert_parallel", "--port_file=" + dir + "/port"},
                      dir + "/log");
  EXPECT_GT(coordinator.Wait(absl::Seconds(30)), 0);
  EXPECT_NE(coordinator.Log().find("the model has no experts"), std::string::npos) << coordinator.Log();
}

}  // namespace
}  // namespace quire::e2e
