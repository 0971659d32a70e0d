#include "coordinator/request/beam_search.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quire::request {
namespace {

using Row = BeamSearch::Row;
using Candidate = BeamSearch::Candidate;

SamplingParams Params(uint32_t width, float length_penalty = 1, EarlyStopping early = EarlyStopping::kFalse) {
  SamplingParams p;
  p.beam_width = width;
  p.length_penalty = length_penalty;
  p.early_stopping = early;
  p.max_tokens = 10;
  return p;
}

std::vector<Candidate> Rank(const BeamSearch& search, const std::vector<const Row*>& rows,
                            const std::vector<int32_t>& banned = {}) {
  std::vector<Candidate> best;
  search.Rank(rows, banned, &best);
  return best;
}

std::vector<size_t> Select(BeamSearch* search, const std::vector<Candidate>& candidates,
                           const std::vector<bool>& ends) {
  std::vector<size_t> running;
  search->Select(candidates, ends, &running);
  return running;
}

TEST(BeamSearchTest, RowsLeaveEnoughThatDoNotEnd) {
  EXPECT_EQ(BeamSearch::RowSize(Params(4), 0), 8);
  EXPECT_EQ(BeamSearch::RowSize(Params(4), 1), 8);
  EXPECT_EQ(BeamSearch::RowSize(Params(4), 3), 16);
  // What min_tokens strikes out of a row is asked for in addition.
  EXPECT_EQ(BeamSearch(Params(4), 16, 3).row_size(), 19);
}

TEST(BeamSearchTest, RanksOverAllBeamsBySum) {
  const SamplingParams p = Params(2);
  BeamSearch search(p, 4);
  const Row first = {{7, -1}, {3, -2}, {4, -3}, {5, -4}};
  std::vector<Candidate> c = Rank(search, {&first});
  ASSERT_EQ(c.size(), 4u);
  EXPECT_EQ(Select(&search, c, {false, false, false, false}), (std::vector<size_t>{0, 1}));
  const Row a = {{1, -5}, {2, -6}, {3, -7}, {4, -8}}, b = {{9, -0.5f}, {8, -1}, {7, -9}, {6, -9}};
  c = Rank(search, {&a, &b});
  EXPECT_EQ(c[0].beam, 1u);
  EXPECT_EQ(c[0].token, 9);
  EXPECT_FLOAT_EQ(c[0].score, -2.5f);
  EXPECT_EQ(c[1].token, 8);
  EXPECT_EQ(c[2].beam, 0u);
  EXPECT_FLOAT_EQ(c[2].score, -6);
}

TEST(BeamSearchTest, EqualSumsGoToTheBetterBeamThenTheLowerToken) {
  const SamplingParams p = Params(2);
  BeamSearch search(p, 4);
  const Row row = {{2, -1}, {9, -1}};
  Select(&search, Rank(search, {&row}), {false, false});
  const Row same = {{4, -1}, {5, -1}};
  const std::vector<Candidate> c = Rank(search, {&same, &same});
  std::vector<std::pair<size_t, int32_t>> got;
  for (const Candidate& x : c) got.emplace_back(x.beam, x.token);
  EXPECT_EQ(got, (std::vector<std::pair<size_t, int32_t>>{{0, 4}, {0, 5}, {1, 4}, {1, 5}}));
}

TEST(BeamSearchTest, OnlyTheBestOnesMayEnd) {
  const SamplingParams p = Params(2);
  BeamSearch search(p, 4);
  const Row row = {{0, -1}, {1, -2}, {2, -3}, {3, -4}};
  const std::vector<Candidate> c = Rank(search, {&row});
  EXPECT_EQ(Select(&search, c, {true, false, true, false}), (std::vector<size_t>{1, 3}));
  EXPECT_EQ(search.ended(), std::vector<size_t>{0});  // the third stands by and is not among the best two
}

TEST(BeamSearchTest, LengthPenaltyDividesBySizeToItsPower) {
  for (const float penalty : {0.0f, 0.5f, 1.0f, 2.0f, -1.0f}) {
    const SamplingParams p = Params(1, penalty);
    BeamSearch search(p, 2);
    EXPECT_FLOAT_EQ(search.Enter(-8, 4)->score, -8 / std::pow(4.0f, penalty)) << penalty;
  }
}

TEST(BeamSearchTest, KeepsTheBestHypotheses) {
  const SamplingParams p = Params(2);
  BeamSearch search(p, 4);
  search.Enter(-4, 1)->tokens = {1};
  search.Enter(-2, 1)->tokens = {2};
  EXPECT_EQ(search.Enter(-5, 1), nullptr);
  EXPECT_EQ(search.Enter(-4, 1), nullptr) << "an equal one does not push out an older one";
  search.Enter(-3, 1)->tokens = {3};
  const std::vector<Hypothesis> best = search.TakeHypotheses();
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].tokens, std::vector<int32_t>{2});
  EXPECT_EQ(best[1].tokens, std::vector<int32_t>{3});
}

// One beam runs with a sum of -6 after two tokens; one hypothesis is in.
bool DoneWith(float hypothesis, EarlyStopping early, float penalty) {
  const SamplingParams p = Params(1, penalty, early);
  BeamSearch search(p, 2);
  const Row row = {{5, -6}, {6, -7}};
  Select(&search, Rank(search, {&row}), {false, false});
  if (hypothesis < 0) search.Enter(hypothesis, 1);
  return search.Done(2);
}

TEST(BeamSearchTest, EndsAsEarlyStoppingSays) {
  EXPECT_FALSE(DoneWith(0, EarlyStopping::kTrue, 1)) << "no hypothesis yet";
  EXPECT_TRUE(DoneWith(-100, EarlyStopping::kTrue, 1));
  EXPECT_FALSE(DoneWith(-4, EarlyStopping::kFalse, 1)) << "-6 / 2 is better";
  EXPECT_TRUE(DoneWith(-2, EarlyStopping::kFalse, 1)) << "-6 / 2 is worse";
  EXPECT_FALSE(DoneWith(-2, EarlyStopping::kNever, 1)) << "at ten tokens it may be -0.6";
  EXPECT_TRUE(DoneWith(-0.5f, EarlyStopping::kNever, 1));
  EXPECT_TRUE(DoneWith(-2, EarlyStopping::kNever, 0)) << "length does not help";
  EXPECT_TRUE(DoneWith(-3, EarlyStopping::kFalse, 1)) << "equal is no improvement";
}

TEST(BeamSearchTest, EndsWhenNothingRunsOn) {
  const SamplingParams p = Params(2);
  BeamSearch search(p, 4);
  const Row row = {{5, -6}, {6, -7}};
  EXPECT_TRUE(Select(&search, Rank(search, {&row}), {true, true}).empty());
  EXPECT_TRUE(search.Done(10));
}

}  // namespace
}  // namespace quire::request
