// One seeded schedule of the whole cluster over the real core: random servers, requests and readers, cancels and
// deadlines, ranks that die, hang or lie behind a network with delays, formations that fail, all on virtual time. The
// invariants are checked after every turn of the core, and every stream against its solo run. Test only; single
// thread; a seed replays exactly.
#ifndef QUIRE_COORDINATOR_ENGINE_SIMULATION_H_
#define QUIRE_COORDINATOR_ENGINE_SIMULATION_H_

#include <cstdint>

#include "absl/time/time.h"

namespace quire::engine {

struct SimTotals {
  int64_t seeds = 0;
  int64_t steps = 0;
  int64_t tokens = 0;  // computed
  int64_t requests = 0;
  int64_t finished = 0;
  int64_t cancelled = 0;
  int64_t expired = 0;
  int64_t refused = 0;
  int64_t failed = 0;  // by losses of the replica
  int64_t preemptions = 0;
  int64_t swaps = 0;  // of the preemptions
  int64_t forks = 0;
  int64_t copies = 0;      // of shared blocks that are written
  int64_t cache_hits = 0;  // tokens
  int64_t drafted = 0;     // tokens
  int64_t accepted = 0;
  int64_t epochs = 0;
  int64_t replies_dropped = 0;
  int64_t results_dropped = 0;
  absl::Duration time;  // simulated

  void Add(const SimTotals& other);
};

struct SimSettings {
  bool trace = false;  // a line per event on stdout
};

// Runs one schedule; CHECK-fails on any violation. The probes of request/probe.h count on this thread.
SimTotals RunSimulation(uint64_t seed, const SimSettings& settings = {});

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_SIMULATION_H_
