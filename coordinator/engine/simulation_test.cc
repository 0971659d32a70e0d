// 10,000 seeded schedules of the core over a fake replica, with the invariants after every step. A failure prints its
// seed; replay one with --gtest_filter=Simulation.OneSeed and QUIRE_SIM_SEED=n.
#include "coordinator/engine/simulation.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

namespace quire::engine {
namespace {

uint64_t g_seed = 0;

[[noreturn]] void PrintSeedAndDie() {
  std::fprintf(stderr, "simulation failed at seed %llu\n", static_cast<unsigned long long>(g_seed));
  std::abort();
}

SimCoverage RunSeed(uint64_t seed) {
  g_seed = seed;
  google::InstallFailureFunction(&PrintSeedAndDie);
  return RunSimulation(seed);
}

TEST(Simulation, TenThousandSchedules) {
  constexpr uint64_t kSeeds = 10000;
  SimCoverage total;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) total.Add(RunSeed(seed));
  std::printf(
      "steps %lld, requests %lld, ok %lld, cancelled %lld, expired %lld, refused %lld, preemptions %lld, forks %lld, "
      "copies %lld, "
      "replicas lost %lld, stale %lld, stop strings %lld\n",
      (long long)total.steps, (long long)total.requests, (long long)total.finished_ok, (long long)total.cancelled,
      (long long)total.expired, (long long)total.refused, (long long)total.preemptions, (long long)total.forks,
      (long long)total.copies, (long long)total.replicas_lost, (long long)total.stale_results,
      (long long)total.stop_strings);
  // Coverage probes: a simulation that does not get there proves nothing about it.
  EXPECT_GT(total.finished_ok, 10000);
  EXPECT_GT(total.cancelled, 1000);
  EXPECT_GT(total.expired, 100);
  EXPECT_GT(total.refused, 100);
  EXPECT_GT(total.preemptions, 1000);
  EXPECT_GT(total.forks, 1000);
  EXPECT_GT(total.copies, 1000);
  EXPECT_GT(total.replicas_lost, 500);
  EXPECT_GT(total.lost_while_running, 500);
  EXPECT_GT(total.replica_failures, 0);
  EXPECT_GT(total.ran_alone, 100);
  EXPECT_GT(total.stale_results, 500);
  EXPECT_GT(total.stop_strings, 500);
  EXPECT_GT(total.chunked_prefills, 1000);
  EXPECT_GT(total.two_in_flight, 10000);
  EXPECT_GT(total.cache_hits, 10000);
  EXPECT_GT(total.swaps, 1000);
  EXPECT_GT(total.beam_searches, 1000);
  EXPECT_GT(total.branches, 1000);
  EXPECT_GT(total.scored_prompts, 1000);
  EXPECT_GT(total.drafted, 10000);
  EXPECT_GT(total.accepted, 5000);
  EXPECT_GT(total.drafted - total.accepted, 5000);
  EXPECT_GT(total.preemptions - total.swaps, 1000);
}

TEST(Simulation, OneSeed) {
  const char* seed = std::getenv("QUIRE_SIM_SEED");
  RunSeed(seed == nullptr ? 42 : std::strtoull(seed, nullptr, 10));
}

TEST(Simulation, ASeedReplaysExactly) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    const SimCoverage a = RunSeed(seed), b = RunSeed(seed);
    EXPECT_EQ(a.steps, b.steps) << seed;
    EXPECT_EQ(a.finished_ok, b.finished_ok) << seed;
    EXPECT_EQ(a.preemptions, b.preemptions) << seed;
  }
}

}  // namespace
}  // namespace quire::engine
