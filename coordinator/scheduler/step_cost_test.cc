// The cost model against machines whose true cost is known: exact, noisy, with hiccups, changing, not linear.
#include "coordinator/scheduler/step_cost.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace quire::scheduler {
namespace {

StepShape Shape(int64_t decodes, int64_t context, int64_t prefill = 0, int64_t start = 0) {
  StepShape shape;
  for (int64_t i = 0; i < decodes; ++i) shape.AddDecode(context);
  if (prefill > 0) shape.AddPrefill(start, prefill);
  return shape;
}

using Machine = std::function<double(const StepShape&)>;

double Cpu(const StepShape& s) {
  return 7e-3 + 0.9e-3 * s.decodes + 0.5e-6 * s.decode_context + 0.54e-3 * s.prefill_tokens + 0.2e-6 * s.prefill_pairs;
}
double Gpu(const StepShape& s) {
  return 5e-3 + 15e-6 * s.decodes + 40e-9 * s.decode_context + 18e-6 * s.prefill_tokens + 1e-9 * s.prefill_pairs;
}
// Memory bound up to some rows, compute bound beyond.
double Kinked(const StepShape& s) {
  return std::max(5e-3, 18e-6 * static_cast<double>(s.decodes + s.prefill_tokens)) + 40e-9 * s.decode_context;
}

// A life of arrivals: prompts alone, then pieces beside decodes, with stretches of decoding only.
void Live(StepCost* cost, const Machine& machine, std::mt19937* rng, int steps) {
  const auto uniform = [rng](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(*rng);
  };
  for (int i = 0; i < steps; ++i) {
    StepShape shape;
    if (i < 3) {
      shape = Shape(0, 0, uniform(20, 512));
    } else {
      const int64_t decodes = uniform(1, 32), context = uniform(50, 2000);
      shape = Shape(decodes, context);
      const int64_t begin = uniform(0, 3000), count = uniform(1, 256);
      if (uniform(0, 2) == 0) shape.AddPrefill(begin, count);
    }
    cost->Learn(shape, machine(shape));
  }
}

TEST(StepCostTest, SaysNothingBeforeTheFirstSample) {
  StepCost cost;
  EXPECT_FALSE(cost.knows_prefill());
  EXPECT_EQ(cost.Seconds(Shape(16, 100)), 0);
  EXPECT_EQ(cost.PrefillTokens(0.01, 0, 512), 64);
  EXPECT_EQ(cost.PrefillTokens(0.01, 0, 30), 30);
  EXPECT_EQ(cost.PrefillTokens(0.01, 0, 0), 0);
}

TEST(StepCostTest, WorthlessSamplesChangeNothing) {
  StepCost cost;
  cost.Learn(Shape(4, 100), 0);
  cost.Learn(Shape(4, 100), -1);
  cost.Learn(Shape(4, 100), std::nan(""));
  cost.Learn(Shape(4, 100), INFINITY);
  cost.Learn(StepShape(), 1);
  EXPECT_EQ(cost.Seconds(Shape(4, 100)), 0);
}

TEST(StepCostTest, FindsTheCostOfAMachine) {
  for (const Machine& machine : {Machine(Cpu), Machine(Gpu)}) {
    StepCost cost;
    std::mt19937 rng(1);
    Live(&cost, machine, &rng, 600);
    for (const StepShape& shape : {Shape(16, 300), Shape(32, 1500), Shape(16, 300, 64), Shape(8, 900, 200, 2500)}) {
      EXPECT_NEAR(cost.Seconds(shape) / machine(shape), 1, 0.05) << shape.decodes << "+" << shape.prefill_tokens;
    }
  }
}

TEST(StepCostTest, NoiseAndHiccupsMoveLittle) {
  std::mt19937 noise(7);
  const Machine noisy = [&noise](const StepShape& s) {
    double seconds = Cpu(s) * std::lognormal_distribution<double>(0, 0.15)(noise);
    if (noise() % 50 == 0) seconds *= 100;  // the host was away
    return seconds;
  };
  StepCost cost;
  std::mt19937 rng(2);
  double worst = 0;
  for (int round = 0; round < 30; ++round) {
    Live(&cost, noisy, &rng, 100);
    for (const StepShape& shape : {Shape(16, 500), Shape(16, 500, 40, 1000)}) {
      worst = std::max(worst, std::abs(cost.Seconds(shape) / Cpu(shape) - 1));
    }
  }
  EXPECT_LT(worst, 0.25);
}

TEST(StepCostTest, FollowsALastingChange) {
  StepCost cost;
  std::mt19937 rng(3);
  Live(&cost, Cpu, &rng, 500);
  const Machine slower = [](const StepShape& s) { return 4 * Cpu(s); };
  Live(&cost, slower, &rng, 500);
  EXPECT_NEAR(cost.Seconds(Shape(16, 500, 40)) / slower(Shape(16, 500, 40)), 1, 0.1);
  Live(&cost, Cpu, &rng, 500);
  EXPECT_NEAR(cost.Seconds(Shape(16, 500, 40)) / Cpu(Shape(16, 500, 40)), 1, 0.1);
}

TEST(StepCostTest, DecodingForHoursDoesNotForgetWhatAPromptCosts) {
  StepCost cost;
  std::mt19937 rng(4);
  Live(&cost, Cpu, &rng, 500);
  for (int i = 0; i < 100000; ++i) cost.Learn(Shape(16, 400 + i % 100), Cpu(Shape(16, 400 + i % 100)));
  EXPECT_NEAR(cost.Seconds(Shape(16, 450, 64)) / Cpu(Shape(16, 450, 64)), 1, 0.1);
}

TEST(StepCostTest, NothingIsEverNegative) {
  std::mt19937 rng(5);
  const Machine random = [&rng](const StepShape&) { return std::exponential_distribution<double>(100)(rng); };
  StepCost cost;
  for (int round = 0; round < 50; ++round) {
    Live(&cost, random, &rng, 20);
    for (const StepShape& s : {Shape(1, 1), Shape(0, 0, 4096), Shape(256, 8000), Shape(3, 7, 1, 100000)}) {
      EXPECT_GE(cost.Seconds(s), 0);
      EXPECT_TRUE(std::isfinite(cost.Seconds(s)));
    }
    EXPECT_GE(cost.PrefillSeconds(0, 1), 0);
  }
}

// The first thing it ever sees is one short prompt and a few decodes: a budget made of that is too small, not too big.
TEST(StepCostTest, EarlyBudgetsAreCautious) {
  for (const Machine& machine : {Machine(Cpu), Machine(Gpu), Machine(Kinked)}) {
    StepCost cost;
    cost.Learn(Shape(0, 0, 12), machine(Shape(0, 0, 12)));
    for (int i = 0; i < 20; ++i) cost.Learn(Shape(1, 12 + i), machine(Shape(1, 12 + i)));
    EXPECT_LE(cost.Seconds(Shape(16, 30)), 1.1 * machine(Shape(16, 30)));
    const double half = machine(Shape(1, 32)) / 2;
    const int64_t tokens = cost.PrefillTokens(half, 0, 2048);
    EXPECT_LE(machine(Shape(1, 32, tokens)) - machine(Shape(1, 32)), 1.5 * half) << tokens;
  }
}

TEST(StepCostTest, BudgetsFillTheTimeAtAnyContext) {
  for (const Machine& machine : {Machine(Cpu), Machine(Gpu)}) {
    StepCost cost;
    std::mt19937 rng(6);
    Live(&cost, machine, &rng, 600);
    cost.Learn(Shape(16, 500, 2000), machine(Shape(16, 500, 2000)));
    for (const int64_t start : {0, 1000, 4000}) {
      const double alone = machine(Shape(16, 500));
      const int64_t tokens = cost.PrefillTokens(alone, start, 1 << 20);
      EXPECT_NEAR(machine(Shape(16, 500, tokens, start)) / alone, 2, 0.25) << start;
    }
  }
}

// Where the truth is not linear, what is learned beside decodes is what counts beside decodes.
TEST(StepCostTest, AKinkInTheMachineIsLearnedWhereItIsUsed) {
  StepCost cost;
  for (int i = 0; i < 50; ++i) cost.Learn(Shape(0, 0, 2048), Kinked(Shape(0, 0, 2048)));
  for (int i = 0; i < 200; ++i) {
    const StepShape alone = Shape(16, 500);
    cost.Learn(alone, Kinked(alone));
    const int64_t tokens = cost.PrefillTokens(0.7 * cost.Seconds(alone), 0, 2048);
    const StepShape mixed = Shape(16, 500, std::max<int64_t>(tokens, 16));
    cost.Learn(mixed, Kinked(mixed));
    if (i > 50) {
      EXPECT_LE(Kinked(mixed), 2 * Kinked(alone)) << i;
      EXPECT_GE(Kinked(mixed), 1.3 * Kinked(alone)) << i;
    }
  }
}

}  // namespace
}  // namespace quire::scheduler
