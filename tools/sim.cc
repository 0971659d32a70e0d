// Runs the simulated cluster (coordinator/engine/simulation.h) over many seeds, or replays one. A violation aborts and
// prints its seed: `sim --first_seed=SEED --seeds=1` shows it again.
#include <glog/logging.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/time/clock.h"
#include "coordinator/engine/simulation.h"

ABSL_FLAG(uint64_t, first_seed, 1, "First seed.");
ABSL_FLAG(uint64_t, seeds, 50000, "How many seeds to run.");
ABSL_FLAG(bool, progress, true, "A progress line on stderr, once a second.");

namespace {

uint64_t g_seed = 0;

[[noreturn]] void PrintSeedAndDie() {
  std::fprintf(stderr, "\nsim: failed at seed %llu; replay: sim --seeds=1 --first_seed=%llu\n",
               static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_seed));
  std::abort();
}

void PrintCoverage(const quire::engine::SimCoverage& c, uint64_t seeds, double seconds) {
  std::printf("%llu seeds in %.1f s, no violation\n", static_cast<unsigned long long>(seeds), seconds);
  const struct {
    const char* name;
    int64_t value;
  } rows[] = {{"steps", c.steps},
              {"requests", c.requests},
              {"finished", c.finished_ok},
              {"cancelled", c.cancelled},
              {"expired", c.expired},
              {"refused", c.refused},
              {"preemptions", c.preemptions},
              {"of them swaps", c.swaps},
              {"beam searches", c.beam_searches},
              {"branches of beams", c.branches},
              {"forks", c.forks},
              {"copies on write", c.copies},
              {"cache hits, tokens", c.cache_hits},
              {"chunked prefills", c.chunked_prefills},
              {"replicas lost", c.replicas_lost},
              {"turns run alone", c.ran_alone},
              {"stale results", c.stale_results},
              {"drafted tokens", c.drafted},
              {"of them accepted", c.accepted},
              {"stop strings", c.stop_strings}};
  for (const auto& row : rows) std::printf("  %-20s %12lld\n", row.name, static_cast<long long>(row.value));
}

}  // namespace

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Runs seeded schedules of the whole cluster over the real core; aborts at a violation.");
  absl::ParseCommandLine(argc, argv);
  google::InitGoogleLogging(argv[0]);
  google::InstallFailureFunction(&PrintSeedAndDie);
  const uint64_t first = absl::GetFlag(FLAGS_first_seed), seeds = absl::GetFlag(FLAGS_seeds);
  const absl::Time start = absl::Now();
  absl::Time said = start;
  quire::engine::SimCoverage total;
  for (uint64_t i = 0; i < seeds; ++i) {
    g_seed = first + i;
    total.Add(quire::engine::RunSimulation(g_seed));
    if (!absl::GetFlag(FLAGS_progress) || absl::Now() - said < absl::Seconds(1)) continue;
    said = absl::Now();
    std::fprintf(stderr, "\r%llu / %llu seeds, %lld steps", static_cast<unsigned long long>(i + 1),
                 static_cast<unsigned long long>(seeds), static_cast<long long>(total.steps));
  }
  if (absl::GetFlag(FLAGS_progress)) std::fprintf(stderr, "\n");
  PrintCoverage(total, seeds, absl::ToDoubleSeconds(absl::Now() - start));
}
