// A request's bytes do not depend on its neighbours: 64 requests of mixed lengths, greedy and seeded, together, with a
// cache small enough to force preemption, give exactly the tokens, log-probs and text that each gives alone.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

std::vector<quire::v1::GenerateRequest> MixedRequests(int count) {
  std::mt19937 rng(5);
  std::vector<quire::v1::GenerateRequest> out;
  for (int i = 0; i < count; ++i) {
    std::vector<uint32_t> ids;
    const int length = 1 + static_cast<int>(rng() % 180);
    for (int k = 0; k < length; ++k) ids.push_back(10 + rng() % 500);
    quire::v1::GenerateRequest request = IdsRequest(ids, 8 + rng() % 90);
    quire::v1::SamplingParams* p = request.mutable_sampling_params();
    p->set_ignore_eos(i % 3 == 0);
    p->set_logprobs(static_cast<int32_t>(i % 4));
    if (i % 2 == 1) {
      p->set_temperature(0.5f + 0.1f * static_cast<float>(i % 8));
      p->set_seed(1000 + i);
      if (i % 4 == 1) p->set_top_p(0.9f);
      if (i % 8 == 3) p->set_top_k(40);
      if (i % 8 == 7) p->set_min_p(0.05f);
      if (i % 6 == 1) p->set_repetition_penalty(1.2f);
      if (i % 6 == 5) p->set_presence_penalty(0.5f), p->set_frequency_penalty(0.3f);
      if (i % 16 == 5) p->set_n(3);
    }
    if (i % 10 == 4) (*p->mutable_logit_bias())[40 + i] = 3.5f;
    if (i % 10 == 8) p->set_min_tokens(8);
    if (i % 5 == 2) {  // whole: the log-probs of the prompt come with the end
      p->set_prompt_logprobs(i % 3);
      request.set_stream(false);
    }
    out.push_back(std::move(request));
  }
  return out;
}

std::vector<Output> RunTogether(Cluster* cluster, const std::vector<quire::v1::GenerateRequest>& requests) {
  std::vector<Output> out(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i)
    clients.emplace_back([&, i] { out[i] = cluster->Generate(requests[i]); });
  for (std::thread& t : clients) t.join();
  return out;
}

class SameBytesTest : public ::testing::TestWithParam<int> {};

TEST_P(SameBytesTest, TogetherUnderPreemptionEqualsAlone) {
  const std::string workers = absl::StrCat("--workers=local:", GetParam());
  const std::vector<quire::v1::GenerateRequest> requests = MixedRequests(64);
  std::vector<Output> alone;
  {
    Cluster cluster({workers, "--max_num_seqs=8"});
    for (const auto& request : requests) alone.push_back(cluster.Generate(request));
  }
  for (const Output& out : alone) ASSERT_TRUE(out.ok()) << out.status.error_message();
  struct Shape {
    int blocks, tokens, seqs;
    std::string preemption;
  };
  for (const Shape& shape : {Shape{60, 64, 32, "recompute"}, Shape{90, 512, 64, "recompute"}, Shape{60, 64, 32, "swap"},
                             Shape{90, 512, 64, "auto"}}) {
    Cluster cluster({workers, absl::StrCat("--num_device_blocks_override=", shape.blocks),
                     absl::StrCat("--max_num_batched_tokens=", shape.tokens),
                     absl::StrCat("--max_num_seqs=", shape.seqs), absl::StrCat("--preemption_mode=", shape.preemption),
                     absl::StrCat("--swap_space_bytes=", 64 << 20)});
    const std::vector<Output> together = RunTogether(&cluster, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(Fingerprint(together[i]), Fingerprint(alone[i]))
          << "request " << i << ": " << together[i].status.error_message();
    }
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    EXPECT_GT(loads.num_preemptions(), 0u) << "the cache was not small enough to prove anything";
    EXPECT_EQ(loads.num_recomputes(), loads.num_preemptions() - loads.num_swaps());
    EXPECT_GT(loads.num_forks(), 0u);
    EXPECT_GT(loads.num_block_copies(), 0u);
    EXPECT_EQ(loads.blocks_swapped_out() > 0, loads.num_swaps() > 0);
    EXPECT_GE(loads.blocks_swapped_in() > 0, loads.num_swaps() > 0) << "every request has ended well";
    EXPECT_EQ(loads.kv_fragmentation(), 0) << "no block is used";
    if (shape.preemption == "recompute") {
      EXPECT_EQ(loads.num_swaps(), 0u);
    } else if (shape.preemption == "swap") {
      EXPECT_EQ(loads.num_swaps(), loads.num_preemptions());
    }
    for (const auto& rank : loads.ranks()) {
      EXPECT_GT(rank.host_blocks_total(), 0u);
      EXPECT_EQ(rank.host_blocks_used(), 0u) << "swapped-out blocks leak";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TensorParallel, SameBytesTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace quire::e2e
