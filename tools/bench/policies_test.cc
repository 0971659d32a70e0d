// The claims of //tools/bench:policies on short traces. Virtual time: the same figures on every machine.
#include <gtest/gtest.h>

#include <algorithm>

#include "tools/bench/policies_replay.h"
#include "tools/bench/policies_traces.h"

namespace quire::bench {
namespace {

using scheduler::PreemptionMode;

constexpr double kScale = 0.3;

TEST(PoliciesTest, AutoIsAsGoodAsTheBetterOfSwapAndRecompute) {
  const std::vector<Trace> traces = KvTraces();
  std::vector<double> swap_over_recompute;
  for (const Trace& trace : traces) {
    const ReplayResult swap = Replay(MakeKvRun(trace, {1.1, PreemptionMode::kSwap, kScale}));
    const ReplayResult recompute = Replay(MakeKvRun(trace, {1.1, PreemptionMode::kRecompute, kScale}));
    const ReplayResult automatic = Replay(MakeKvRun(trace, {1.1, PreemptionMode::kAuto, kScale}));
    EXPECT_GE(automatic.tokens_per_second, 0.97 * std::max(swap.tokens_per_second, recompute.tokens_per_second))
        << trace.name;
    swap_over_recompute.push_back(swap.tokens_per_second / recompute.tokens_per_second);
    EXPECT_GT(swap.preemptions, 10) << trace.name << ": else this proves nothing";
    EXPECT_EQ(swap.swaps, swap.preemptions) << trace.name;
    EXPECT_EQ(recompute.swaps, 0) << trace.name;
    if (trace.name == "mixed") {
      EXPECT_GT(automatic.swaps, 0) << "some are swapped, some computed again";
      EXPECT_LT(automatic.swaps, automatic.preemptions);
    }
  }
  EXPECT_GT(swap_over_recompute[0], 1.03) << "a trace where swap wins";
  EXPECT_LT(swap_over_recompute[1], 0.97) << "a trace where recompute wins";
}

TEST(PoliciesTest, TooMuchDemandCostsLittleThroughputAndTheBoundHolds) {
  for (const Trace& trace : KvTraces()) {
    const ReplayResult below = Replay(MakeKvRun(trace, {0.8, PreemptionMode::kAuto, kScale}));
    ReplayOptions options = MakeKvRun(trace, {1.2, PreemptionMode::kAuto, kScale});
    const ReplayResult above = Replay(options);
    EXPECT_GE(above.tokens_per_second, 0.85 * below.tokens_per_second) << trace.name;
    EXPECT_GT(above.preemptions, below.preemptions) << trace.name;
    EXPECT_LE(above.most_preemptions, options.scheduler.max_preemptions) << trace.name;
    options.scheduler.max_preemptions = 1;
    const ReplayResult bounded = Replay(options);
    EXPECT_EQ(bounded.most_preemptions, 1) << trace.name;
    EXPECT_GE(bounded.tokens_per_second, 0.85 * below.tokens_per_second) << trace.name;
  }
}

TEST(PoliciesTest, TenantsShareTokensUnderFair) {
  ReplayResult fcfs = Replay(MakeFairnessRun(scheduler::Policy::kFcfs, 20));
  ReplayResult fair = Replay(MakeFairnessRun(scheduler::Policy::kFair, 20));
  const auto modest_share = [](ReplayResult& r) {
    const double modest = static_cast<double>(r.tenant_tokens["modest"]);
    return modest / (modest + static_cast<double>(r.tenant_tokens["greedy"]));
  };
  EXPECT_NEAR(modest_share(fair), 0.5, 0.05);
  EXPECT_LT(modest_share(fcfs), 0.2) << "else this proves nothing";
}

TEST(PoliciesTest, ALongPromptLeavesStreamsTheirPaceByDefault) {
  for (const Machine& machine : {SmallCpu(), BigGpu()}) {
    const ReplayResult alone = Replay(MakeInterferenceRun({machine, 16, false, 0, 30}));
    const ReplayResult by_default = Replay(MakeInterferenceRun({machine, 16, true, scheduler::kAutoTarget, 30}));
    const ReplayResult unlimited = Replay(MakeInterferenceRun({machine, 16, true, scheduler::kNoTarget, 30}));
    const double p99 = Percentile(alone.token_seconds, 0.99);
    EXPECT_LE(Percentile(by_default.token_seconds, 0.99), 2 * p99);
    EXPECT_LE(by_default.token_seconds.back(), 2.5 * p99) << "no single one either";
    EXPECT_GT(Percentile(unlimited.token_seconds, 0.99), 3 * p99) << "else this proves nothing";
    ASSERT_FALSE(by_default.first_token_seconds.empty());
    EXPECT_LE(Percentile(by_default.first_token_seconds, 0.5), 3.5 * Percentile(unlimited.first_token_seconds, 0.5))
        << "the prompt pays a bounded price";
  }
}

TEST(PoliciesTest, ReplaysExactly) {
  const ReplayOptions options = MakeKvRun(KvTraces()[1], {1.2, PreemptionMode::kAuto, 0.1});
  const ReplayResult a = Replay(options), b = Replay(options);
  EXPECT_EQ(a.token_seconds, b.token_seconds);
  EXPECT_EQ(a.preemptions, b.preemptions);
}

}  // namespace
}  // namespace quire::bench
