// Parameters are checked, bans end with min_tokens, penalties see what they should.
#include <gtest/gtest.h>

#include <cmath>

#include "proto/worker.pb.h"
#include "worker/sampling/draw.h"
#include "worker/sampling/sampling_params.h"
#include "worker/sampling/seen_tokens.h"

namespace quire::worker {
namespace {

constexpr int32_t kVocab = 100;

v1::NewSequence Valid() {
  v1::NewSequence s;
  s.set_seq(7);
  s.set_temperature(0.5f);
  s.set_top_p(0.9f);
  s.set_repetition_penalty(1.0f);
  s.set_num_logprobs(-1);
  return s;
}

TEST(SamplingParamsTest, RefusesByFieldAndValue) {
  ASSERT_TRUE(ParseSamplingParams(Valid(), kVocab).ok());
  struct Case {
    const char* name;
    void (*spoil)(v1::NewSequence*);
  };
  const Case cases[] = {
      {"temperature", [](v1::NewSequence* s) { s->set_temperature(std::nanf("")); }},
      {"temperature", [](v1::NewSequence* s) { s->set_temperature(-0.1f); }},
      {"temperature", [](v1::NewSequence* s) { s->set_temperature(INFINITY); }},
      {"top_p", [](v1::NewSequence* s) { s->set_top_p(0.0f); }},
      {"top_p", [](v1::NewSequence* s) { s->set_top_p(1.5f); }},
      {"min_p", [](v1::NewSequence* s) { s->set_min_p(std::nanf("")); }},
      {"top_k", [](v1::NewSequence* s) { s->set_top_k(1u << 31); }},
      {"repetition_penalty", [](v1::NewSequence* s) { s->set_repetition_penalty(0.0f); }},
      {"frequency_penalty", [](v1::NewSequence* s) { s->set_frequency_penalty(INFINITY); }},
      {"presence_penalty", [](v1::NewSequence* s) { s->set_presence_penalty(std::nanf("")); }},
      {"num_logprobs", [](v1::NewSequence* s) { s->set_num_logprobs(-2); }},
      {"logit_bias", [](v1::NewSequence* s) { s->mutable_logit_bias()->add_ids(1); }},
      {"logit_bias",
       [](v1::NewSequence* s) {
         s->mutable_logit_bias()->add_ids(kVocab);
         s->mutable_logit_bias()->add_values(1.0f);
       }},
      {"banned_until_min", [](v1::NewSequence* s) { s->add_banned_until_min(kVocab); }},
  };
  for (const Case& c : cases) {
    v1::NewSequence s = Valid();
    c.spoil(&s);
    const absl::Status status = ParseSamplingParams(s, kVocab).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << c.name;
    EXPECT_NE(status.message().find(c.name), absl::string_view::npos) << status;
    EXPECT_NE(status.message().find("sequence 7"), absl::string_view::npos) << status;
  }
}

TEST(DrawTest, BansEndWithMinTokens) {
  SamplingParams params;
  params.min_tokens = 2;
  params.banned_until_min = {3, 4};
  const SeenTokens seen;
  EXPECT_EQ(MakeLogitEdits(params, seen, 0).banned.size(), 2u);
  EXPECT_EQ(MakeLogitEdits(params, seen, 1).banned.size(), 2u);
  EXPECT_EQ(MakeLogitEdits(params, seen, 2).banned.size(), 0u);
  EXPECT_FALSE(HasEdits(MakeLogitEdits(params, seen, 2)));
}

TEST(DrawTest, PenaltiesSeePromptAndOutputApart) {
  SeenTokens seen;
  const int32_t prompt[] = {5, 9, 5};
  seen.AddPrompt(prompt);
  seen.AddOutput(9);
  seen.AddOutput(11);
  seen.AddOutput(9);
  SamplingParams params;
  EXPECT_FALSE(HasEdits(MakeLogitEdits(params, seen, 3)));
  params.presence_penalty = 0.5f;
  const kernels::LogitEdits edits = MakeLogitEdits(params, seen, 3);
  EXPECT_TRUE(HasEdits(edits));
  EXPECT_EQ(std::vector<int32_t>(edits.seen.begin(), edits.seen.end()), (std::vector<int32_t>{5, 9, 11}));
  EXPECT_EQ(std::vector<int32_t>(edits.seen_counts.begin(), edits.seen_counts.end()), (std::vector<int32_t>{0, 2, 1}));
}

TEST(DrawTest, BadWordsBanTheirLastTokenAfterTheOthers) {
  SamplingParams params;
  params.bad_words = {{3}, {4, 5}, {4, 6, 7}, {1, 2, 3, 4, 5, 6, 9}};
  params.min_tokens = 2;
  params.banned_until_min = {8};
  const auto banned = [&](std::vector<int32_t> output) {
    std::vector<int32_t> out;
    BannedTokens(params, output, &out);
    return out;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(banned({}), (Ids{8, 3}));
  EXPECT_EQ(banned({4}), (Ids{8, 3, 5}));
  EXPECT_EQ(banned({4, 6}), (Ids{3, 7}));
  EXPECT_EQ(banned({6, 4}), (Ids{3, 5}));
  EXPECT_EQ(banned({4, 6, 1}), (Ids{3}));
  EXPECT_EQ(banned({0, 1, 2, 3, 4, 5, 6}), (Ids{3, 9}));
}

TEST(DrawTest, AllowedTokensAreAnEdit) {
  SamplingParams params;
  params.allowed_token_ids = {3, 4};
  const SeenTokens seen;
  EXPECT_TRUE(HasEdits(MakeLogitEdits(params, seen, 5)));
  EXPECT_EQ(MakeLogitEdits(params, seen, 5).allowed.size(), 2u);
}

TEST(DrawTest, PositionIsTheOutputToken) {
  SamplingParams params;
  params.num_logprobs = 4;
  params.choice = 2;
  EXPECT_EQ(MakeSampleRow(params, 17, true).position, 17u);
  EXPECT_EQ(MakeSampleRow(params, 17, true).choice, 2u);
  EXPECT_EQ(MakeSampleRow(params, 17, true).num_logprobs, 4);
  EXPECT_EQ(MakeSampleRow(params, 17, false).num_logprobs, -1);
}

}  // namespace
}  // namespace quire::worker
