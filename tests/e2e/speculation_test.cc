// Speculative decoding changes nothing but the pace: with drafts on, every request gives exactly the tokens, log-probs
// and text that it gives without them; alone, in company, with forks, stop strings and forced preemption. On repetitive
// text drafts are accepted.
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

// A story told before: what the model says next mostly stands in the prompt. Every way of sampling; every eighth prompt
// is noise.
std::vector<quire::v1::GenerateRequest> Requests(const std::vector<uint32_t>& story) {
  std::mt19937 rng(11);
  std::vector<quire::v1::GenerateRequest> out;
  for (int i = 0; i < 32; ++i) {
    std::vector<uint32_t> ids = story;
    ids.insert(ids.end(), story.begin(), story.begin() + 3 + static_cast<int>(rng() % 60));
    for (uint32_t& id : ids) {
      if (i % 8 == 7) id = 10 + rng() % 500;
    }
    quire::v1::GenerateRequest request = IdsRequest(ids, 10 + rng() % 80);
    quire::v1::SamplingParams* p = request.mutable_sampling_params();
    p->set_ignore_eos(i % 3 == 0);
    p->set_logprobs(static_cast<int32_t>(i % 4));
    if (i % 2 == 1) {
      p->set_temperature(0.3f + 0.1f * static_cast<float>(i % 5));
      p->set_seed(1000 + i);
      if (i % 4 == 1) p->set_top_p(0.9f);
      if (i % 6 == 1) p->set_repetition_penalty(1.2f);
      if (i % 6 == 5) p->set_presence_penalty(0.5f), p->set_frequency_penalty(0.3f);
      if (i % 8 == 5) p->set_n(2);
    }
    if (i % 10 == 4) p->set_min_tokens(8);
    if (i % 5 == 2) {
      for (const char* stop : {"water", "home.", ". The"}) p->add_stop(stop);
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

void ExpectSame(const std::vector<Output>& got, const std::vector<Output>& want) {
  for (size_t i = 0; i < want.size(); ++i) {
    ASSERT_TRUE(want[i].ok()) << want[i].status.error_message();
    EXPECT_EQ(Fingerprint(got[i]), Fingerprint(want[i])) << "request " << i << ": " << got[i].status.error_message();
  }
}

double Acceptance(const quire::v1::GetLoadsResponse& loads) {
  return static_cast<double>(loads.spec_decode_num_accepted_tokens_total()) /
         static_cast<double>(loads.spec_decode_num_draft_tokens_total());
}

// What the requests give without drafts.
struct Plain {
  std::vector<quire::v1::GenerateRequest> requests;
  std::vector<Output> outputs;
};

Plain WithoutDrafts(const std::string& workers) {
  Cluster cluster({workers});
  Plain plain;
  const Output story = cluster.Generate(TextRequest("Once upon a time there was a little boy", 120));
  EXPECT_TRUE(story.ok()) << story.status.error_message();
  plain.requests = Requests({story.choices[0].output_ids().begin(), story.choices[0].output_ids().end()});
  for (const auto& request : plain.requests) plain.outputs.push_back(cluster.Generate(request));
  EXPECT_EQ(cluster.Loads().spec_decode_num_draft_tokens_total(), 0u);
  return plain;
}

class SpeculationTest : public ::testing::TestWithParam<int> {};

TEST_P(SpeculationTest, NgramDraftsChangeNothing) {
  const std::string workers = absl::StrCat("--workers=local:", GetParam());
  const auto [requests, plain] = WithoutDrafts(workers);
  const std::vector<std::string> ngram = {workers, "--speculative_method=ngram", "--num_speculative_tokens=6",
                                          "--prompt_lookup_min=1"};
  {
    Cluster cluster(ngram);
    std::vector<Output> alone;
    for (const auto& request : requests) alone.push_back(cluster.Generate(request));
    ExpectSame(alone, plain);
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    EXPECT_GT(loads.spec_decode_num_accepted_tokens_total(), 100u);
    EXPECT_LT(Acceptance(loads), 1) << "no draft was ever wrong";
    ExpectSame(RunTogether(&cluster, requests), plain);
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  }
  for (const char* mode : {"recompute", "swap"}) {
    std::vector<std::string> flags = ngram;
    for (const std::string& flag : {std::string("--preempt_every_steps=11"), absl::StrCat("--preemption_mode=", mode),
                                    std::string("--max_num_batched_tokens=80"), std::string("--max_num_seqs=24"),
                                    absl::StrCat("--swap_space_bytes=", 64 << 20)}) {
      flags.push_back(flag);
    }
    Cluster cluster(flags);
    ExpectSame(RunTogether(&cluster, requests), plain);
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
    const quire::v1::GetLoadsResponse loads = cluster.Loads();
    EXPECT_GT(loads.num_preemptions(), 0u) << "the cache was not small enough to prove anything";
    EXPECT_GT(loads.spec_decode_num_accepted_tokens_total(), 0u);
    for (const auto& rank : loads.ranks()) EXPECT_EQ(rank.host_blocks_used(), 0u) << "swapped-out blocks leak";
  }
}

// The model as its own draft model: nearly every draft is right, prefix cache, swaps and shared prompts included.
TEST_P(SpeculationTest, ADraftModelChangesNothing) {
  const std::string workers = absl::StrCat("--workers=local:", GetParam());
  const auto [requests, plain] = WithoutDrafts(workers);
  const std::vector<std::string> draft = {workers, "--speculative_method=draft_model",
                                          absl::StrCat("--speculative_model=", kDemoModel)};
  {
    Cluster cluster(draft);
    ExpectSame(RunTogether(&cluster, requests), plain);
    ExpectSame(RunTogether(&cluster, requests), plain);  // on cached prompts
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
    EXPECT_GT(Acceptance(cluster.Loads()), 0.9);
  }
  std::vector<std::string> tight = draft;
  for (const std::string& flag : {std::string("--preempt_every_steps=9"), std::string("--preemption_mode=swap"),
                                  std::string("--max_num_batched_tokens=80"), std::string("--max_num_seqs=24"),
                                  absl::StrCat("--swap_space_bytes=", 64 << 20)}) {
    tight.push_back(flag);
  }
  Cluster cluster(tight);
  ExpectSame(RunTogether(&cluster, requests), plain);
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  EXPECT_GT(cluster.Loads().num_swaps(), 0u) << "the cache was not small enough to prove anything";
  EXPECT_GT(Acceptance(cluster.Loads()), 0.9);
}

INSTANTIATE_TEST_SUITE_P(TensorParallel, SpeculationTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace quire::e2e
