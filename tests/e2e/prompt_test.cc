// What a client may learn of its prompt: log-probs of its tokens, and an echo; answers chosen by log-probs. Two ranks,
// small chunks.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

using quire::v1::PositionLogprobs;

class PromptTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cluster_ = new Cluster({"--workers=local:2", "--max_num_batched_tokens=48", "--max_num_seqs=8"});
  }
  static void TearDownTestSuite() {
    delete cluster_;
    cluster_ = nullptr;
  }
  static Cluster* cluster_;
};

Cluster* PromptTest::cluster_ = nullptr;

std::string Bytes(const PositionLogprobs& position) { return position.SerializeAsString(); }

// What was drawn with log-probs is scored to the same bits when it comes back as a prompt.
TEST_F(PromptTest, OutputScoredAsAPromptHasTheSameBits) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time there was a little dog", 150);
  request.mutable_sampling_params()->set_logprobs(3);
  request.mutable_sampling_params()->set_ignore_eos(true);
  request.mutable_sampling_params()->set_temperature(1);
  request.mutable_sampling_params()->set_seed(3);
  request.set_stream(false);
  request.set_echo(true);
  const Output drawn = cluster_->Generate(request);
  ASSERT_TRUE(drawn.ok()) << drawn.status.error_message();
  const auto& from = drawn.choices[0];
  ASSERT_GT(from.prompt_token_ids_size(), 4);
  EXPECT_EQ(from.text().rfind("Once upon a time there was a little dog", 0), 0u);

  std::vector<uint32_t> ids(from.prompt_token_ids().begin(), from.prompt_token_ids().end());
  const int prompt = static_cast<int>(ids.size());
  ids.insert(ids.end(), from.output_ids().begin(), from.output_ids().end());
  // Twice: the prefix cache must not skip what is asked for.
  for (int i = 0; i < 2; ++i) {
    quire::v1::GenerateRequest score = IdsRequest(ids, 1);
    score.mutable_sampling_params()->set_prompt_logprobs(3);
    score.set_stream(false);
    const Output scored = cluster_->Generate(score);
    ASSERT_TRUE(scored.ok()) << scored.status.error_message();
    const auto& got = scored.choices[0].input_logprobs();
    ASSERT_EQ(got.positions_size(), static_cast<int>(ids.size()));
    EXPECT_FALSE(got.positions(0).sampled().has_logprob());
    for (int k = 0; k < from.output_ids_size(); ++k) {
      EXPECT_EQ(Bytes(got.positions(prompt + k)), Bytes(from.output_logprobs().positions(k))) << "output token " << k;
    }
    for (int k = 1; k < prompt; ++k) {
      EXPECT_EQ(got.positions(k).sampled().token_id(), ids[k]);
      EXPECT_LT(got.positions(k).sampled().logprob(), 0);
      EXPECT_EQ(got.positions(k).top_size(), 3);
    }
    EXPECT_EQ(scored.choices[0].cached_tokens(), 0u);
  }
}

TEST_F(PromptTest, AStreamBringsThePromptFirst) {
  quire::v1::GenerateRequest request = TextRequest("The little dog", 6);
  request.set_echo(true);
  request.mutable_sampling_params()->set_prompt_logprobs(0);
  request.mutable_sampling_params()->set_n(2);
  request.mutable_sampling_params()->set_temperature(1);
  request.mutable_sampling_params()->set_ignore_eos(true);
  grpc::ClientContext context;
  auto reader = cluster_->stub()->Generate(&context, request);
  quire::v1::GenerateResponse response;
  std::vector<std::string> texts(2);
  int scored = 0;
  while (reader->Read(&response)) {
    if (!response.has_chunk()) continue;
    const auto& chunk = response.chunk();
    EXPECT_EQ(chunk.prompt_token_ids_size() > 0, chunk.offset() == 0);
    EXPECT_EQ(chunk.prompt_token_ids_size() > 0, texts[chunk.index()].empty());
    texts[chunk.index()] += chunk.text();
    if (!chunk.has_input_logprobs()) continue;
    ++scored;
    EXPECT_EQ(chunk.input_logprobs().positions_size(), static_cast<int>(chunk.prompt_tokens()));
    EXPECT_EQ(chunk.input_logprobs().positions(1).top_size(), 0);
  }
  ASSERT_TRUE(reader->Finish().ok());
  EXPECT_EQ(scored, 1) << "once per request";
  for (const std::string& text : texts) {
    EXPECT_EQ(text.rfind("The little dog", 0), 0u) << text;
    EXPECT_GT(text.size(), 16u);
  }
}

TEST_F(PromptTest, BadWordsAndAllowedIdsRuleTheOutput) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 40);
  const Output free = cluster_->Generate(request);
  ASSERT_TRUE(free.ok()) << free.status.error_message();
  const std::string text = free.streamed_text[0] + free.choices[0].text();
  const size_t begin = text.find(' ', 1) + 1, end = text.find(' ', begin);
  ASSERT_NE(end, std::string::npos) << text;
  const std::string word = text.substr(begin, end - begin);
  request.mutable_sampling_params()->add_bad_words(word);
  const Output ruled = cluster_->Generate(request);
  ASSERT_TRUE(ruled.ok()) << ruled.status.error_message();
  EXPECT_NE(ruled.streamed_text[0] + ruled.choices[0].text(), text);
  quire::v1::TokenizeRequest tokenize;
  tokenize.set_text(" " + word);
  tokenize.set_add_special_tokens(false);
  quire::v1::TokenizeResponse banned;
  grpc::ClientContext context;
  ASSERT_TRUE(cluster_->stub()->Tokenize(&context, tokenize, &banned).ok());
  const auto occurs = [&](const Output& out) {
    const std::vector<uint32_t>& ids = out.streamed_ids[0];
    return std::search(ids.begin(), ids.end(), banned.ids().begin(), banned.ids().end()) != ids.end();
  };
  EXPECT_TRUE(occurs(free)) << word;
  EXPECT_FALSE(occurs(ruled)) << word;

  request.mutable_sampling_params()->clear_bad_words();
  const std::set<uint32_t> allowed = {300, 301, 302};
  for (const uint32_t id : allowed) request.mutable_sampling_params()->add_allowed_token_ids(id);
  request.mutable_sampling_params()->set_detokenize(false);
  const Output few = cluster_->Generate(request);
  ASSERT_TRUE(few.ok()) << few.status.error_message();
  EXPECT_EQ(few.streamed_ids[0].size(), 40u);
  for (const uint32_t id : few.streamed_ids[0]) EXPECT_EQ(allowed.count(id), 1u) << id;
  EXPECT_EQ(few.streamed_text[0] + few.choices[0].text(), "") << "ids only";
}

TEST_F(PromptTest, BestOfAnswersTheBestOfItsSamples) {
  quire::v1::GenerateRequest request = TextRequest("Once upon a time", 24);
  request.set_stream(false);
  request.mutable_sampling_params()->set_temperature(1.3f);
  request.mutable_sampling_params()->set_seed(5);
  request.mutable_sampling_params()->set_n(6);
  request.mutable_sampling_params()->set_logprobs(0);
  const Output all = cluster_->Generate(request);
  ASSERT_TRUE(all.ok()) << all.status.error_message();
  std::vector<std::pair<double, std::string>> ranked;
  for (const auto& choice : all.choices) {
    double sum = 0;
    for (const PositionLogprobs& position : choice.output_logprobs().positions()) sum += position.sampled().logprob();
    EXPECT_DOUBLE_EQ(choice.cumulative_logprob(), sum);
    ranked.emplace_back(-sum / choice.output_ids_size(), choice.text());
  }
  std::sort(ranked.begin(), ranked.end());
  request.mutable_sampling_params()->clear_logprobs();
  request.mutable_sampling_params()->set_n(2);
  request.mutable_sampling_params()->set_best_of(6);
  const Output best = cluster_->Generate(request);
  ASSERT_TRUE(best.ok()) << best.status.error_message();
  ASSERT_EQ(best.choices.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(best.choices[i].text(), ranked[i].second) << i;
    EXPECT_FALSE(best.choices[i].has_output_logprobs());
  }
  request.set_stream(true);
  const Output streamed = cluster_->Generate(request);
  EXPECT_EQ(streamed.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(streamed.error_param, "sampling_params.best_of");
}

}  // namespace
}  // namespace quire::e2e
