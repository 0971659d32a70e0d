// A request's bytes do not depend on how it is computed: whatever its neighbours, the size of batches and chunks, the prefix
// cache, drafts and preemptions of both kinds, it gives exactly the tokens, log-probs and text that it gives alone.
//
// The normal run takes 160 requests; QUIRE_BYTES_REQUESTS=1000 in the environment (bazel test --test_env) takes more.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

constexpr int kClients = 64;  // at once
constexpr uint32_t kCommon[] = {301, 77,  412, 19,  233, 350, 128, 61,  94, 410,
                                207, 333, 18,  275, 140, 66,  199, 310, 45, 87};

void SetSampling(int i, std::mt19937* rng, quire::v1::SamplingParams* p) {
  p->set_temperature(0.5f + 0.1f * static_cast<float>(i % 8));
  p->set_seed(1000 + i);
  if (i % 4 == 1) p->set_top_p(0.9f);
  if (i % 8 == 3) p->set_top_k(40);
  if (i % 8 == 7) p->set_min_p(0.05f);
  if (i % 6 == 1) p->set_repetition_penalty(1.2f);
  if (i % 6 == 5) p->set_presence_penalty(0.5f), p->set_frequency_penalty(0.3f);
  if (i % 16 == 5) p->set_n(2 + (*rng)() % 3);
}

void SetBeams(std::mt19937* rng, quire::v1::SamplingParams* p) {
  p->set_use_beam_search(true);
  p->set_beam_width(2 + (*rng)() % 2);
  p->set_n(1 + (*rng)() % p->beam_width());
  p->set_length_penalty(0.5f * static_cast<float>((*rng)() % 4));
}

// Greedy, seeded, beams, n > 1, stop strings, penalties, biases; a third of the prompts begins alike.
quire::v1::GenerateRequest MixedRequest(int i) {
  std::mt19937 rng(5 + i);
  std::vector<uint32_t> ids;
  if (i % 3 == 0) ids.assign(std::begin(kCommon), std::end(kCommon));
  const int length = i % 12 == 7 ? 120 + static_cast<int>(rng() % 60) : 1 + static_cast<int>(rng() % 50);
  for (int k = 0; k < length; ++k) ids.push_back(10 + rng() % 500);
  quire::v1::GenerateRequest request = IdsRequest(ids, 4 + rng() % (i % 2 == 0 ? 120 : 24));
  quire::v1::SamplingParams* p = request.mutable_sampling_params();
  p->set_ignore_eos(i % 3 == 0);
  p->set_logprobs(static_cast<int32_t>(i % 4));
  if (i % 10 == 8) p->set_min_tokens(4);
  if (i % 5 == 2) p->add_stop("the"), p->add_stop(". ");
  if (i % 9 == 4) {
    SetBeams(&rng, p);
    return request;
  }
  if (i % 2 == 1) SetSampling(i, &rng, p);
  if (i % 10 == 4) (*p->mutable_logit_bias())[40 + i % 400] = 3.5f;
  return request;
}

int NumRequests() {
  const char* wanted = std::getenv("QUIRE_BYTES_REQUESTS");
  return wanted == nullptr ? 160 : std::clamp(std::atoi(wanted), 1, 100000);
}

std::vector<Output> Answers(Cluster* cluster, const std::vector<quire::v1::GenerateRequest>& requests, int at_once) {
  std::vector<Output> out(requests.size());
  std::atomic<size_t> next{0};
  std::vector<std::thread> clients;
  for (int c = 0; c < at_once; ++c) {
    clients.emplace_back([&] {
      for (size_t i = next++; i < requests.size(); i = next++) out[i] = cluster->Generate(requests[i]);
    });
  }
  for (std::thread& t : clients) t.join();
  return out;
}

struct Shape {
  const char* name;
  std::vector<std::string> flags;
  bool preempts = false;
};

std::vector<Shape> Shapes() {
  const std::string swap = absl::StrCat("--swap_space_bytes=", 64 << 20);
  return {
      {"batches of 8", {"--max_num_seqs=8"}},
      {"batches of 32, chunks of 64", {"--max_num_seqs=32", "--max_num_batched_tokens=64"}},
      {"chunks of 7", {"--max_num_seqs=7", "--max_num_batched_tokens=7"}},
      {"no prefix cache", {"--enable_prefix_caching=false"}},
      {"drafts", {"--speculative_method=ngram"}},
      // Admission keeps a reserve, so few blocks alone seldom preempt.
      {"few blocks",
       {"--num_device_blocks_override=44", "--max_num_batched_tokens=300", "--preempt_every_steps=6", swap},
       true},
      {"recompute every 5 steps", {"--preempt_every_steps=5", "--preemption_mode=recompute"}, true},
      {"swap every 7 steps", {"--preempt_every_steps=7", "--preemption_mode=swap", swap}, true},
  };
}

class SameBytesTest : public ::testing::TestWithParam<int> {};

TEST_P(SameBytesTest, HoweverItIsComputed) {
  const std::string workers = absl::StrCat("--workers=local:", GetParam());
  std::vector<quire::v1::GenerateRequest> requests;
  for (int i = 0; i < NumRequests(); ++i) requests.push_back(MixedRequest(i));
  std::vector<Output> alone;
  {
    Cluster cluster({workers, "--max_num_seqs=8"});
    alone = Answers(&cluster, requests, 1);
  }
  for (size_t i = 0; i < alone.size(); ++i) ASSERT_TRUE(alone[i].ok()) << i << alone[i].status.error_message();
  for (const Shape& shape : Shapes()) {
    std::vector<std::string> flags = shape.flags;
    flags.insert(flags.begin(), workers);
    if (flags[1].rfind("--max_num_seqs", 0) != 0) flags.push_back("--max_num_seqs=64");
    Cluster cluster(flags);
    const std::vector<Output> together = Answers(&cluster, requests, kClients);
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(Fingerprint(together[i]), Fingerprint(alone[i]))
          << shape.name << ", request " << i << ": " << together[i].status.error_message();
    }
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    EXPECT_EQ(loads.num_preemptions() > 0, shape.preempts) << shape.name << ": " << loads.num_preemptions();
    for (const auto& rank : loads.ranks()) EXPECT_EQ(rank.host_blocks_used(), 0u) << "swapped-out blocks leak";
  }
}

// Sums over columns follow one tree over quarters of them, whoever holds the quarters.
TEST(SameBytesOverRanksTest, OneTwoAndFour) {
  std::vector<quire::v1::GenerateRequest> requests;
  for (int i = 0; i < NumRequests(); ++i) requests.push_back(MixedRequest(i));
  std::vector<Output> one;
  for (int ranks : {1, 2, 4}) {
    Cluster cluster({absl::StrCat("--workers=local:", ranks)});
    const std::vector<Output> out = Answers(&cluster, requests, kClients);
    if (ranks == 1) one = out;
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(Fingerprint(out[i]), Fingerprint(one[i])) << ranks << " ranks, request " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TensorParallel, SameBytesTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace quire::e2e
