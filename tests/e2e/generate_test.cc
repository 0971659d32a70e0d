// The main road: the same tokens from one rank, two local ranks and two worker hosts; streams, choices, stops, health,
// reflection, shutdown.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

const char* kPrompts[] = {"Once upon a time", "The little dog", "Tom and Anna went to the market", "Question: "};

std::vector<Output> GenerateAll(Cluster* cluster) {
  std::vector<Output> out;
  for (const char* prompt : kPrompts) {
    for (int seeded = 0; seeded < 2; ++seeded) {
      quire::v1::GenerateRequest request = TextRequest(prompt, 48);
      if (seeded == 1) {
        request.mutable_sampling_params()->set_temperature(0.8f);
        request.mutable_sampling_params()->set_seed(7);
      }
      out.push_back(cluster->Generate(request));
      EXPECT_TRUE(out.back().ok()) << out.back().status.error_message();
    }
  }
  return out;
}

TEST(Generate, LocalRanksAndWorkerHostsGiveTheSameTokens) {
  std::vector<Output> local, remote, single;
  {
    Cluster cluster({"--workers=local:2"});
    local = GenerateAll(&cluster);
    EXPECT_EQ(cluster.Loads().ranks_size(), 2);
    EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(5)));
  }
  {
    const std::string dir = TestDir("hosts");
    std::vector<std::unique_ptr<Process>> workers;
    std::string hosts;
    for (int i = 0; i < 2; ++i) {
      const std::string port_file = absl::StrCat(dir, "/port", i);
      workers.push_back(
          std::make_unique<Process>(std::vector<std::string>{WorkerBinary(), "--listen=127.0.0.1:0", "--num_threads=1",
                                                             absl::StrCat("--port_file=", port_file)},
                                    absl::StrCat(dir, "/log", i)));
      const int port = AwaitPortFile(port_file, workers.back().get(), absl::Seconds(20));
      ASSERT_GT(port, 0) << workers.back()->Log();
      absl::StrAppend(&hosts, i == 0 ? "" : ",", "127.0.0.1:", port);
    }
    for (const char* collective : {"shm", "gloo"}) {
      Cluster cluster({absl::StrCat("--workers=", hosts), absl::StrCat("--collective=", collective)});
      remote = GenerateAll(&cluster);
      for (size_t i = 0; i < local.size(); ++i)
        EXPECT_EQ(Fingerprint(local[i]), Fingerprint(remote[i])) << collective << " " << i;
    }
  }
  {
    Cluster cluster({"--workers=local:1"});
    single = GenerateAll(&cluster);
  }
  for (size_t i = 0; i < local.size();
       i += 2) {  // greedy: another TP degree rounds differently, the tokens are the same
    EXPECT_EQ(local[i].streamed_ids, single[i].streamed_ids) << kPrompts[i / 2];
  }
}

class GenerateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { cluster_ = new Cluster({"--workers=local:2"}); }
  static void TearDownTestSuite() { delete cluster_; }
  static Cluster* cluster_;
};
Cluster* GenerateTest::cluster_ = nullptr;

TEST_F(GenerateTest, StreamAndWholeAnswerAgree) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 40);
  const Output streamed = cluster_->Generate(request);
  request.set_stream(false);
  const Output whole = cluster_->Generate(request);
  ASSERT_TRUE(streamed.ok() && whole.ok());
  ASSERT_EQ(whole.choices.size(), 1u);
  EXPECT_TRUE(whole.streamed_ids[0].empty()) << "no chunks unless asked for";
  const auto& ids = whole.choices[0].output_ids();
  EXPECT_EQ(std::vector<uint32_t>(ids.begin(), ids.end()), streamed.streamed_ids[0]);
  EXPECT_EQ(whole.choices[0].text(), streamed.streamed_text[0] + streamed.choices[0].text());
  EXPECT_EQ(whole.choices[0].completion_tokens(), static_cast<uint32_t>(ids.size()));
  EXPECT_GT(whole.choices[0].prompt_tokens(), 0u);
  EXPECT_TRUE(whole.choices[0].finish_reason() == "length" || whole.choices[0].finish_reason() == "stop");
}

TEST_F(GenerateTest, ChoicesDifferAndRepeatBySeed) {
  quire::v1::GenerateRequest request = TextRequest("The little dog", 24);
  request.mutable_sampling_params()->set_temperature(1);
  request.mutable_sampling_params()->set_n(4);
  request.mutable_sampling_params()->set_seed(11);
  const Output a = cluster_->Generate(request), b = cluster_->Generate(request);
  ASSERT_TRUE(a.ok()) << a.status.error_message();
  ASSERT_EQ(a.choices.size(), 4u);
  EXPECT_EQ(Fingerprint(a), Fingerprint(b));
  EXPECT_NE(a.streamed_ids[0], a.streamed_ids[1]);
  request.mutable_sampling_params()->set_n(1);
  EXPECT_EQ(cluster_->Generate(request).streamed_ids[0], a.streamed_ids[0])
      << "choice 0 does not depend on its siblings";
}

TEST_F(GenerateTest, ASeedIsDrawnAndReturned) {
  quire::v1::GenerateRequest request = TextRequest("The little dog", 24);
  request.mutable_sampling_params()->set_temperature(1);
  const Output a = cluster_->Generate(request);
  ASSERT_TRUE(a.ok());
  ASSERT_TRUE(a.choices[0].has_seed());
  request.mutable_sampling_params()->set_seed(a.choices[0].seed());
  EXPECT_EQ(cluster_->Generate(request).streamed_ids, a.streamed_ids);
}

TEST_F(GenerateTest, StopStringAcrossTokens) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 60);
  const Output whole = cluster_->Generate(request);
  ASSERT_TRUE(whole.ok());
  const std::string text = whole.streamed_text[0] + whole.choices[0].text();
  ASSERT_GT(text.size(), 40u);
  const std::string stop = text.substr(17, 9);  // crosses token borders
  const size_t first = text.find(stop);
  request.mutable_sampling_params()->add_stop(stop);
  const Output cut = cluster_->Generate(request);
  EXPECT_EQ(cut.streamed_text[0] + cut.choices[0].text(), text.substr(0, first));
  EXPECT_EQ(cut.choices[0].finish_reason(), "stop");
  EXPECT_EQ(cut.choices[0].matched_stop_str(), stop);
}

TEST_F(GenerateTest, LogprobsAreThereAndConsistent) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 12);
  request.mutable_sampling_params()->set_logprobs(3);
  request.set_stream(false);
  const Output out = cluster_->Generate(request);
  ASSERT_TRUE(out.ok()) << out.status.error_message();
  const auto& choice = out.choices[0];
  ASSERT_EQ(choice.output_logprobs().positions_size(), choice.output_ids_size());
  for (int i = 0; i < choice.output_ids_size(); ++i) {
    const auto& position = choice.output_logprobs().positions(i);
    EXPECT_EQ(position.sampled().token_id(), choice.output_ids(i));
    EXPECT_LE(position.sampled().logprob(), 0);
    ASSERT_EQ(position.top_size(), 3);
    EXPECT_EQ(position.top(0).token_id(), choice.output_ids(i)) << "greedy takes the most probable";
    EXPECT_GE(position.top(0).logprob(), position.top(1).logprob());
  }
}

TEST_F(GenerateTest, APromptThatBeginsAlikeIsFoundInTheCache) {
  std::vector<uint32_t> ids;
  for (uint32_t i = 0; i < 100; ++i) ids.push_back(300 + i);
  quire::v1::GenerateRequest request = IdsRequest(ids, 30);
  request.mutable_sampling_params()->set_logprobs(2);
  const Output first = cluster_->Generate(request), again = cluster_->Generate(request);
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first.choices[0].cached_tokens(), 0u);
  EXPECT_EQ(again.choices[0].cached_tokens(), 96u) << "six full blocks of 16";
  EXPECT_EQ(Fingerprint(first), Fingerprint(again));
  EXPECT_TRUE(cluster_->AwaitIdle(absl::Seconds(5))) << "cached blocks are not used ones";
  const quire::v1::GetLoadsResponse loads = cluster_->Loads();
  EXPECT_GE(loads.cache_hit_tokens(), 96u);
  EXPECT_GE(loads.cache_queried_tokens(), loads.cache_hit_tokens());
  for (const auto& rank : loads.ranks()) {
    EXPECT_GE(rank.device_blocks_cached(), 6u) << "what the second request found";
    EXPECT_LE(rank.device_blocks_cached() + rank.device_blocks_used(), rank.device_blocks_total());
  }
  EXPECT_TRUE(Await([] { return cluster_->Loads().cache_hit_rate() > 0 && cluster_->Loads().cached_blocks() > 5; },
                    absl::Seconds(5)));
}

TEST_F(GenerateTest, TokenizeRoundTrip) {
  grpc::ClientContext c1, c2;
  quire::v1::TokenizeRequest tokenize;
  tokenize.set_text("The cat sat on the mat. \xC3\xA9\xF0\x9F\x98\x80");
  tokenize.set_add_special_tokens(false);
  quire::v1::TokenizeResponse ids;
  ASSERT_TRUE(cluster_->stub()->Tokenize(&c1, tokenize, &ids).ok());
  quire::v1::DetokenizeRequest detokenize;
  *detokenize.mutable_ids() = ids.ids();
  quire::v1::DetokenizeResponse text;
  ASSERT_TRUE(cluster_->stub()->Detokenize(&c2, detokenize, &text).ok());
  EXPECT_EQ(text.text(), tokenize.text());
}

TEST_F(GenerateTest, InfoLoadsAndHealth) {
  grpc::ClientContext c1, c2;
  quire::v1::GetModelInfoResponse model;
  ASSERT_TRUE(cluster_->stub()->GetModelInfo(&c1, {}, &model).ok());
  EXPECT_GT(model.vocab_size(), 256u);
  EXPECT_GT(model.eos_token_ids_size(), 0);
  EXPECT_EQ(model.model_type(), "llama");
  quire::v1::GetServerInfoResponse server;
  ASSERT_TRUE(cluster_->stub()->GetServerInfo(&c2, {}, &server).ok());
  EXPECT_EQ(server.tensor_parallel_size(), 2u);
  EXPECT_EQ(server.collective(), "shm");
  EXPECT_GT(server.weight_bytes(), 0u);
  EXPECT_EQ(cluster_->Health(""), "SERVING");
  EXPECT_EQ(cluster_->Health("ready"), "SERVING");
  EXPECT_NE(cluster_->Health("nobody"), "SERVING");
  const quire::v1::GetLoadsResponse loads = cluster_->Loads();
  ASSERT_EQ(loads.ranks_size(), 2);
  EXPECT_GT(loads.ranks(0).device_blocks_total(), 0u);
  EXPECT_EQ(loads.ranks(0).device_blocks_total(), loads.ranks(1).device_blocks_total());
}

TEST_F(GenerateTest, BlocksShowWhileRunningAndAreGoneAfterwards) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 200);
  request.mutable_sampling_params()->set_ignore_eos(true);
  std::thread client([&] { EXPECT_TRUE(cluster_->Generate(request).ok()); });
  EXPECT_TRUE(Await([] { return cluster_->Loads().ranks(0).device_blocks_used() > 0; }, absl::Seconds(10)));
  client.join();
  EXPECT_TRUE(cluster_->AwaitIdle(absl::Seconds(5)));
}

TEST_F(GenerateTest, AnExpiredDeadlineEndsTheRequest) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 1000);
  request.mutable_sampling_params()->set_ignore_eos(true);
  const Output out = cluster_->Generate(request, absl::Milliseconds(40));
  EXPECT_EQ(out.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(cluster_->AwaitIdle(absl::Seconds(5)));
}

TEST(Shutdown, SigtermEndsStreamsCleanly) {
  Cluster cluster({"--workers=local:2", "--shutdown_timeout=10s"});
  Output out;
  std::thread client([&] { out = cluster.Generate(TextRequest("Once upon a time", 30)); });
  ASSERT_TRUE(Await([&] { return cluster.Loads().num_running_reqs() > 0; }, absl::Seconds(10)) || true);
  const std::vector<pid_t> children = ChildrenOf(cluster.coordinator().pid());
  EXPECT_EQ(children.size(), 2u);
  cluster.coordinator().Signal(SIGTERM);
  client.join();
  EXPECT_TRUE(out.ok()) << "a stream that fits into the shutdown time finishes: " << out.status.error_message();
  EXPECT_EQ(cluster.coordinator().Wait(absl::Seconds(20)), 0) << cluster.coordinator().Log();
  for (pid_t child : children)
    EXPECT_TRUE(Await([&] { return kill(child, 0) != 0; }, absl::Seconds(5))) << "rank left behind";
}

}  // namespace
}  // namespace quire::e2e
