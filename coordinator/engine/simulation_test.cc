// The short form of the simulation: thousands of seeded schedules that must reach every coverage probe, and every
// planted defect caught. The long form is tools/sim. A failure prints its seed; replay it with
// QUIRE_SIM_SEED=n --gtest_filter=Simulation.OneSeed, or with a trace: tools/sim --seeds=1 --trace --first_seed=n.
#include "coordinator/engine/simulation.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "coordinator/engine/testing/planted_gate.h"
#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

namespace quire::engine {
namespace {

uint64_t g_seed = 0;

[[noreturn]] void PrintSeedAndDie() {
  std::fprintf(stderr, "simulation failed at seed %llu\n", static_cast<unsigned long long>(g_seed));
  std::abort();
}

SimTotals RunSeed(uint64_t seed) {
  g_seed = seed;
  google::InstallFailureFunction(&PrintSeedAndDie);
  return RunSimulation(seed);
}

TEST(Simulation, SchedulesReachEveryProbe) {
  constexpr uint64_t kSeeds = 5000;
  SimTotals total;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) total.Add(RunSeed(seed));
  std::printf("%lld seeds, %lld steps, %.1f simulated hours, %lld requests\n", static_cast<long long>(total.seeds),
              static_cast<long long>(total.steps), absl::ToDoubleHours(total.time),
              static_cast<long long>(total.requests));
  for (size_t i = 0; i < kProbeNames.size(); ++i) {
    EXPECT_GT(Hits(static_cast<Probe>(i)), 0) << "not reached: " << kProbeNames[i];
  }
  EXPECT_GT(total.finished, total.requests / 3);
  EXPECT_GT(total.steps, 1000000);
}

TEST(Simulation, OneSeed) {
  const char* seed = std::getenv("QUIRE_SIM_SEED");
  RunSeed(seed == nullptr ? 42 : std::strtoull(seed, nullptr, 10));
}

TEST(Simulation, ASeedReplaysExactly) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const SimTotals a = RunSeed(seed), b = RunSeed(seed);
    EXPECT_EQ(a.steps, b.steps) << seed;
    EXPECT_EQ(a.tokens, b.tokens) << seed;
    EXPECT_EQ(a.finished, b.finished) << seed;
    EXPECT_EQ(a.preemptions, b.preemptions) << seed;
    EXPECT_EQ(a.time, b.time) << seed;
  }
}

class PlantedDefect : public testing::TestWithParam<int> {};

TEST_P(PlantedDefect, IsCaught) {
  const Catch result = CatchDefect(static_cast<Defect>(GetParam()), 1, absl::Seconds(60));
  EXPECT_TRUE(result.caught) << kDefectNames[GetParam()] << " survived " << result.seeds << " seeds";
  std::printf("%s: seed %llu, %s\n", kDefectNames[GetParam()], static_cast<unsigned long long>(result.seeds),
              result.evidence.c_str());
}

INSTANTIATE_TEST_SUITE_P(All, PlantedDefect, testing::Range(1, static_cast<int>(Defect::kCount)));

}  // namespace
}  // namespace quire::engine
