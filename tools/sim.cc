// Runs the simulated cluster (coordinator/engine/simulation.h) over many seeds, replays one, or shows how long it takes
// to catch each planted defect (coordinator/request/planted.h). A violation aborts and prints the seed that shows it
// again.
#include <glog/logging.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/time/clock.h"
#include "coordinator/engine/simulation.h"
#include "coordinator/engine/testing/planted_gate.h"
#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

ABSL_FLAG(uint64_t, first_seed, 1, "First seed.");
ABSL_FLAG(uint64_t, seeds, 50000, "How many seeds to run.");
ABSL_FLAG(double, hours, 0, "Run on, beyond --seeds if need be, until so many hours were simulated.");
ABSL_FLAG(double, steps, 0, "Likewise, until so many steps were planned.");
ABSL_FLAG(bool, trace, false, "Print every event: for a replay, with --seeds=1.");
ABSL_FLAG(bool, progress, true, "A progress line on stderr, once a second.");
ABSL_FLAG(bool, all_probes, false, "Fail if a coverage probe was not reached.");
ABSL_FLAG(bool, planted, false, "Instead: switch on each planted defect in turn and run seeds until it is caught.");
ABSL_FLAG(double, planted_seconds, 60, "How long to look for one planted defect.");

namespace {

using quire::engine::SimTotals;

uint64_t g_seed = 0;

[[noreturn]] void PrintSeedAndDie() {
  std::fprintf(stderr, "\nsim: failed at seed %llu; replay: sim --seeds=1 --trace --first_seed=%llu\n",
               static_cast<unsigned long long>(g_seed), static_cast<unsigned long long>(g_seed));
  std::fflush(stdout);
  std::abort();
}

// Returns how many probes were not reached.
int PrintReport(const SimTotals& t, double seconds) {
  std::printf("no violation in %.1f s\n", seconds);
  const struct {
    const char* name;
    double value;
  } rows[] = {{"seeds", static_cast<double>(t.seeds)},
              {"simulated hours", absl::ToDoubleHours(t.time)},
              {"steps", static_cast<double>(t.steps)},
              {"tokens computed", static_cast<double>(t.tokens)},
              {"requests", static_cast<double>(t.requests)},
              {"  finished", static_cast<double>(t.finished)},
              {"  cancelled", static_cast<double>(t.cancelled)},
              {"  expired", static_cast<double>(t.expired)},
              {"  refused", static_cast<double>(t.refused)},
              {"  failed with the replica", static_cast<double>(t.failed)},
              {"preemptions", static_cast<double>(t.preemptions)},
              {"  by swap", static_cast<double>(t.swaps)},
              {"forks", static_cast<double>(t.forks)},
              {"copies on write", static_cast<double>(t.copies)},
              {"cache hits, tokens", static_cast<double>(t.cache_hits)},
              {"drafted tokens", static_cast<double>(t.drafted)},
              {"  accepted", static_cast<double>(t.accepted)},
              {"epochs", static_cast<double>(t.epochs)},
              {"replies dropped", static_cast<double>(t.replies_dropped)},
              {"results dropped", static_cast<double>(t.results_dropped)}};
  for (const auto& row : rows) {
    std::printf("  %-48s %14.*f\n", row.name, row.value < 1000 && row.value != static_cast<int64_t>(row.value),
                row.value);
  }
  int missed = 0;
  std::printf("probes\n");
  for (size_t i = 0; i < quire::kProbeNames.size(); ++i) {
    const int64_t hits = quire::Hits(static_cast<quire::Probe>(i));
    missed += hits == 0;
    std::printf("  %-48s %14lld%s\n", quire::kProbeNames[i], static_cast<long long>(hits),
                hits == 0 ? "  NOT REACHED" : "");
  }
  std::printf("%zu probes, %d not reached\n", quire::kProbeNames.size(), missed);
  return missed;
}

int RunSeeds() {
  const uint64_t first = absl::GetFlag(FLAGS_first_seed), seeds = absl::GetFlag(FLAGS_seeds);
  const double hours = absl::GetFlag(FLAGS_hours);
  const bool progress = absl::GetFlag(FLAGS_progress);
  quire::engine::SimSettings settings;
  settings.trace = absl::GetFlag(FLAGS_trace);
  const absl::Time start = absl::Now();
  absl::Time said = start;
  SimTotals total;
  const double steps = absl::GetFlag(FLAGS_steps);
  for (uint64_t i = 0; i < seeds || absl::ToDoubleHours(total.time) < hours || static_cast<double>(total.steps) < steps;
       ++i) {
    g_seed = first + i;
    total.Add(quire::engine::RunSimulation(g_seed, settings));
    if (!progress || absl::Now() - said < absl::Seconds(1)) continue;
    said = absl::Now();
    std::fprintf(stderr, "\r%llu / %llu seeds, %.2f M steps, %.1f simulated hours, %.0f s ",
                 static_cast<unsigned long long>(i + 1), static_cast<unsigned long long>(seeds),
                 static_cast<double>(total.steps) * 1e-6, absl::ToDoubleHours(total.time),
                 absl::ToDoubleSeconds(said - start));
  }
  if (progress) std::fprintf(stderr, "\n");
  const int missed = PrintReport(total, absl::ToDoubleSeconds(absl::Now() - start));
  return absl::GetFlag(FLAGS_all_probes) && missed > 0 ? 1 : 0;
}

int RunPlanted() {
  int missed = 0;
  std::printf("%-66s %8s %8s  caught by\n", "planted defect", "seeds", "seconds");
  for (size_t i = 1; i < quire::kDefectNames.size(); ++i) {
    const quire::engine::Catch result =
        quire::engine::CatchDefect(static_cast<quire::Defect>(i), absl::GetFlag(FLAGS_first_seed),
                                   absl::Seconds(absl::GetFlag(FLAGS_planted_seconds)));
    missed += !result.caught;
    std::printf("%-66s %8llu %8.2f  %s\n", quire::kDefectNames[i], static_cast<unsigned long long>(result.seeds),
                result.seconds, result.caught ? result.evidence.c_str() : "NOT CAUGHT");
    std::fflush(stdout);
  }
  std::printf("%zu defects, %d not caught\n", quire::kDefectNames.size() - 1, missed);
  return missed > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Runs seeded schedules of the whole cluster over the real core; aborts at a violation.");
  absl::ParseCommandLine(argc, argv);
  google::InitGoogleLogging(argv[0]);
  google::InstallFailureFunction(&PrintSeedAndDie);
  return absl::GetFlag(FLAGS_planted) ? RunPlanted() : RunSeeds();
}
