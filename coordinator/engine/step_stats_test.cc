// Times, floors and the time line of steps.
#include "coordinator/engine/step_stats.h"

#include <gtest/gtest.h>

namespace quire::engine {
namespace {

class StepStatsTest : public ::testing::Test {
 protected:
  // A step with this many decodes that takes `seconds`, of which the rank says 80 %.
  void Step(size_t decodes, double seconds) {
    StepPlan plan;
    plan.step = ++step_;
    plan.decode.resize(decodes);
    stats_.Sent(plan, now_);
    now_ += absl::Seconds(seconds);
    StepResult result;
    result.step = step_;
    result.ranks.resize(2);
    result.ranks[1].exec_us = static_cast<uint32_t>(seconds * 0.8e6);
    result.ranks[0].collective_us = 1000;
    stats_.Done(result, now_);
  }

  metrics::StepMetrics metrics_;
  StepStats stats_{&metrics_};
  absl::Time now_ = absl::FromUnixSeconds(1000);
  uint64_t step_ = 0;
};

TEST_F(StepStatsTest, FloorsOfTrafficAndComputation) {
  stats_.SetCosts(1000, 10, 7);
  stats_.SetLiveTokens(50);
  Step(4, 0.5);
  now_ += absl::Seconds(3);  // idle: no step's time
  Step(2, 1.5);
  EXPECT_EQ(stats_.read_bytes(), 2 * (1000 + 10 * 50));
  EXPECT_EQ(stats_.flops(), 7 * 6);
  EXPECT_DOUBLE_EQ(stats_.ReadBytesPerSecond(now_), 1500);
  EXPECT_DOUBLE_EQ(stats_.FlopsPerSecond(now_), 21);
  EXPECT_EQ(stats_.ReadBytesPerSecond(now_ + absl::Minutes(1)), 0) << "long ago";
  EXPECT_EQ(metrics_.total.Read().sum, 2);
  EXPECT_NEAR(metrics_.exec.Read().sum, 1.6, 1e-9) << "the slowest rank's";
  EXPECT_NEAR(metrics_.collective.Read().sum, 0.002, 1e-9);
  EXPECT_EQ(metrics_.tokens.Read().sum, 6);
}

TEST_F(StepStatsTest, StepsThatComputeNothingAreNotTimed) {
  Step(0, 1);
  EXPECT_EQ(stats_.total_steps(), 1u);
  EXPECT_EQ(metrics_.total.Read().count(), 0u);
  EXPECT_TRUE(stats_.timeline().Get().empty());
  EXPECT_EQ(stats_.StepP50(), 0);
}

TEST_F(StepStatsTest, TheTimelineKeepsTheLastSteps) {
  Step(1, 0.25);
  ASSERT_EQ(stats_.timeline().Get().size(), 1u);
  EXPECT_EQ(stats_.timeline().Get()[0].seconds, 0.25f);
  for (size_t i = 0; i < 2 * StepTimeline::kMaxSteps; ++i) Step(i + 1, 0.01);
  const std::vector<StepSample> last = stats_.timeline().Get();
  ASSERT_EQ(last.size(), StepTimeline::kMaxSteps);
  EXPECT_EQ(last.back().number, 2 * StepTimeline::kMaxSteps + 1);
  EXPECT_EQ(last.back().sequences, 2 * StepTimeline::kMaxSteps);
  EXPECT_EQ(last.front().number + StepTimeline::kMaxSteps - 1, last.back().number);
}

TEST_F(StepStatsTest, AnswersOfAnOlderEpochCountForNothing) {
  StepPlan plan;
  plan.step = 1;
  plan.decode.resize(1);
  stats_.Sent(plan, now_);
  stats_.Restart();
  StepResult result;
  result.step = 1;
  stats_.Done(result, now_);
  EXPECT_EQ(stats_.total_steps(), 0u);
}

}  // namespace
}  // namespace quire::engine
