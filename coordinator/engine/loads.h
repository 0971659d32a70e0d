// What an engine says of its replica's load: for reports and metrics, not for decisions. Plain data.
#ifndef QUIRE_COORDINATOR_ENGINE_LOADS_H_
#define QUIRE_COORDINATOR_ENGINE_LOADS_H_

#include <cstdint>
#include <vector>

#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

struct CoreStats;
class StepStats;

// A snapshot, refreshed every 20 ms while steps run; any thread may read one.
struct Loads {
  int64_t num_running_reqs = 0;
  int64_t num_waiting_reqs = 0;
  int64_t num_used_tokens = 0;  // slots that hold a token, shared ones once
  int64_t max_total_num_tokens = 0;
  int64_t num_preemptions = 0;
  int64_t num_swaps = 0;  // of the preemptions, those that kept their blocks in host memory
  int64_t generation_tokens_total = 0;
  int64_t prompt_tokens_total = 0;
  double gen_throughput = 0;  // tokens/s over the last 10 s
  int64_t cached_blocks = 0;  // full blocks that the prefix cache knows
  int64_t held_blocks = 0;    // of shared prefixes, computed or not
  int64_t cache_queried_tokens_total = 0;
  int64_t cache_hit_tokens_total = 0;
  double fragmentation = 0;  // share of the used blocks' slots that hold no token
  int64_t num_forks = 0;
  int64_t num_block_copies = 0;  // copy-on-write
  int64_t blocks_swapped_out = 0;
  int64_t blocks_swapped_in = 0;
  int64_t spec_decode_num_draft_tokens_total = 0;     // speculated and checked
  int64_t spec_decode_num_accepted_tokens_total = 0;  // of them
  uint64_t stale_replies_total = 0;
  uint64_t epoch = 0;
  uint64_t steps = 0;
  double step_seconds_p50 = 0;     // of recent steps: send to commit
  double worker_seconds_p50 = 0;   // slowest rank's exec time
  int64_t num_waiting_tokens = 0;  // of the waiting requests' prompts
  double oldest_waiting_seconds = 0;
  double tenant_gap_tokens = 0;  // service between the most and the least served tenant that has requests
  int64_t num_recoveries = 0;    // formations after the first
  double last_step_age_seconds =
      0;  // while steps are in flight: since the last one ended, or the first was sent; else 0
  // What steps read of memory and compute at least (StepStats): since the start, and of recent steps by their time.
  double read_bytes_total = 0;
  double flops_total = 0;
  double read_bytes_per_second = 0;
  double flops_per_second = 0;
  std::vector<RankUsage> ranks;
};

// A step as it is drawn on a time line.
struct StepSample {
  uint64_t number = 0;  // of the steps that computed something since the start, from 1
  float seconds = 0;
  uint32_t tokens = 0;     // computed
  uint32_t sequences = 0;  // that took part
};

// Of all but what the engine alone knows: epoch, ranks, stale replies of the group, times that go on.
Loads MakeLoads(const CoreStats& core, const StepStats& steps);

// Of several replicas together: sums, and the slowest one's times.
void AddLoads(const Loads& loads, Loads* sum);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_LOADS_H_
