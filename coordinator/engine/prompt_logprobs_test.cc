// Each position once (L1), whatever is computed again.
#include "coordinator/engine/prompt_logprobs.h"

#include <gtest/gtest.h>

namespace quire::engine {
namespace {

// Positions [first, first + count), position p with the log-prob -p.
std::vector<TokenLogprobs> Rows(int64_t first, int64_t count) {
  std::vector<TokenLogprobs> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) rows[static_cast<size_t>(i)].sampled = -static_cast<float>(first + i);
  return rows;
}

TEST(PromptLogprobsTest, ChunksJoin) {
  PromptLogprobs prompts;
  EXPECT_EQ(prompts.Add(7, 1, Rows(1, 3)), 3);
  EXPECT_EQ(prompts.Add(8, 1, Rows(1, 1)), 1) << "another request";
  EXPECT_EQ(prompts.Add(7, 4, Rows(4, 2)), 5);
  const std::vector<TokenLogprobs> taken = prompts.Take(7);
  ASSERT_EQ(taken.size(), 5u);
  for (size_t i = 0; i < taken.size(); ++i) EXPECT_EQ(taken[i].sampled, -static_cast<float>(i + 1));
  EXPECT_TRUE(prompts.Take(7).empty()) << "once";
  EXPECT_EQ(prompts.Take(8).size(), 1u);
}

TEST(PromptLogprobsTest, WhatCameBeforeIsNotRepeated) {
  PromptLogprobs prompts;
  prompts.Add(7, 1, Rows(1, 4));
  EXPECT_EQ(prompts.Add(7, 2, Rows(2, 2)), 4) << "all known";
  EXPECT_EQ(prompts.Add(7, 3, Rows(3, 4)), 6) << "half known";
  const std::vector<TokenLogprobs> taken = prompts.Take(7);
  for (size_t i = 0; i < taken.size(); ++i) EXPECT_EQ(taken[i].sampled, -static_cast<float>(i + 1));
}

TEST(PromptLogprobsTest, AnEndedRequestIsForgotten) {
  PromptLogprobs prompts;
  prompts.Add(7, 1, Rows(1, 4));
  prompts.Forget(7);
  EXPECT_TRUE(prompts.Take(7).empty());
}

TEST(PromptLogprobsDeathTest, AGapIsABug) {
  PromptLogprobs prompts;
  EXPECT_DEATH(prompts.Add(7, 2, Rows(2, 1)), "position 2 after 0");
}

}  // namespace
}  // namespace quire::engine
