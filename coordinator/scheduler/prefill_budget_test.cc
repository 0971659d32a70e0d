#include "coordinator/scheduler/prefill_budget.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace quire::scheduler {
namespace {

std::vector<int64_t> Share(int64_t budget, const std::vector<int64_t>& remaining) {
  std::vector<PrefillShare> prompts;
  for (int64_t r : remaining) prompts.push_back({nullptr, r, 0});
  SharePrefill(budget, &prompts);
  std::vector<int64_t> shares;
  for (const PrefillShare& p : prompts) shares.push_back(p.share);
  return shares;
}

using Shares = std::vector<int64_t>;

TEST(SharePrefillTest, WhatFitsGoesWhole) {
  EXPECT_EQ(Share(100, {}), Shares());
  EXPECT_EQ(Share(100, {30, 40, 30}), (Shares{30, 40, 30}));
}

TEST(SharePrefillTest, AShortPromptPassesALongOne) {
  EXPECT_EQ(Share(100, {4000, 30}), (Shares{70, 30}));
  EXPECT_EQ(Share(100, {4000, 80, 30}), (Shares{50, 20, 30}));
}

TEST(SharePrefillTest, ThoseOfOneLengthComeOneAfterTheOther) {
  EXPECT_EQ(Share(100, {500, 500, 500}), (Shares{100, 0, 0}));
  EXPECT_EQ(Share(100, {20, 500, 500}), (Shares{20, 80, 0}));
}

TEST(SharePrefillTest, TheOldestAlwaysGetsHalfAndNothingIsLost) {
  std::mt19937 rng(1);
  for (int i = 0; i < 2000; ++i) {
    std::vector<int64_t> remaining(1 + rng() % 6);
    for (int64_t& r : remaining) r = 1 + static_cast<int64_t>(rng() % 300);
    const int64_t budget = 1 + static_cast<int64_t>(rng() % 400);
    const Shares shares = Share(budget, remaining);
    const int64_t total = std::accumulate(remaining.begin(), remaining.end(), int64_t{0});
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), int64_t{0}), std::min(budget, total));
    EXPECT_GE(shares[0], std::min(remaining[0], (budget + 1) / 2));
    for (size_t k = 0; k < shares.size(); ++k) {
      EXPECT_GE(shares[k], 0);
      EXPECT_LE(shares[k], remaining[k]);
    }
  }
}

class PrefillBudgetTest : public ::testing::Test {
 protected:
  // 10 ms and 1 ms a decode, 0.5 ms a token of a prompt.
  PrefillBudgetTest() {
    for (int i = 0; i < 300; ++i) {
      StepShape shape = Decodes(1 + i % 20);
      if (i % 2 == 0) shape.AddPrefill(0, 10 + 7 * i);
      cost_.Learn(shape, 10e-3 + 1e-3 * shape.decodes + 0.5e-3 * shape.prefill_tokens);
    }
  }
  static StepShape Decodes(int64_t n) {
    StepShape shape;
    for (int64_t i = 0; i < n; ++i) shape.AddDecode(100);
    return shape;
  }
  int64_t Budget(int64_t target_ms, int64_t decodes, int64_t prompts = 1, int64_t limit = 2048) {
    return PrefillBudget(cost_, target_ms, Decodes(decodes), {prompts, 0}, limit);
  }

  StepCost cost_;
};

TEST_F(PrefillBudgetTest, WithoutATargetOrDecodesTheCapRules) {
  EXPECT_EQ(Budget(kNoTarget, 16), 2048);
  EXPECT_EQ(Budget(50, 0), 2048);
  EXPECT_EQ(Budget(kAutoTarget, 0), 2048);
}

TEST_F(PrefillBudgetTest, ATargetIsMetByWhatFitsBesideTheDecodes) {
  EXPECT_NEAR(Budget(50, 10), 60, 6) << "30 ms are left";
  EXPECT_NEAR(Budget(100, 10), 160, 12);
  EXPECT_EQ(Budget(100, 10, 1, 40), 40);
}

TEST_F(PrefillBudgetTest, APromptAlwaysMovesOn) {
  EXPECT_EQ(Budget(5, 10), kMinPrefillTokens) << "the decodes alone take longer than the target";
  EXPECT_EQ(Budget(5, 10, 1, 3), 3);
}

TEST_F(PrefillBudgetTest, ByDefaultPromptsAddAPartOfTheDecodesTime) {
  EXPECT_NEAR(Budget(kAutoTarget, 20), 36, 4);
  EXPECT_NEAR(Budget(kAutoTarget, 20, 4), 36, 4);
  EXPECT_NEAR(Budget(kAutoTarget, 20, 12), 108, 10) << "many wait for their first token";
}

TEST_F(PrefillBudgetTest, BeforeAnythingIsKnownItStartsSmall) {
  EXPECT_EQ(PrefillBudget(StepCost(), kAutoTarget, Decodes(4), {1, 0}, 2048), kMinPrefillTokens);
}

}  // namespace
}  // namespace quire::scheduler
