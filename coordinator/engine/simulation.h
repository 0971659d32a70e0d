// One seeded schedule of the whole cluster over the real core: arrivals, cancels, deadlines, slow, late, repeated and
// stale results, lost replicas and failed formations, with a fake clock. Test only; single thread; a seed replays
// exactly.
#ifndef QUIRE_COORDINATOR_ENGINE_SIMULATION_H_
#define QUIRE_COORDINATOR_ENGINE_SIMULATION_H_

#include <cstdint>

namespace quire::engine {

// What a schedule reached: rare paths that a good set of seeds must hit.
struct SimCoverage {
  int64_t steps = 0;
  int64_t requests = 0;
  int64_t finished_ok = 0;
  int64_t cancelled = 0;
  int64_t expired = 0;
  int64_t refused = 0;
  int64_t preemptions = 0;
  int64_t swaps = 0;          // of the preemptions
  int64_t beam_searches = 0;  // compared with the reference
  int64_t branches = 0;
  int64_t forks = 0;
  int64_t copies = 0;  // copy-on-write
  int64_t replicas_lost = 0;
  int64_t lost_while_running = 0;
  int64_t ran_alone = 0;         // turns in which a request under suspicion ran
  int64_t replica_failures = 0;  // requests that saw too many losses
  int64_t stale_results = 0;
  int64_t stop_strings = 0;
  int64_t chunked_prefills = 0;
  int64_t two_in_flight = 0;
  int64_t cache_hits = 0;  // tokens
  int64_t scored_prompts = 0;
  int64_t drafted = 0;   // tokens
  int64_t accepted = 0;  // of them

  void Add(const SimCoverage& other);
};

// Runs one schedule; CHECK-fails on any violation.
SimCoverage RunSimulation(uint64_t seed);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_SIMULATION_H_
