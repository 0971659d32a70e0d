// What a page says of the cluster beside what was observed: taken from the engines when someone asks. Plain data.
#ifndef QUIRE_COORDINATOR_METRICS_SNAPSHOT_H_
#define QUIRE_COORDINATOR_METRICS_SNAPSHOT_H_

#include <cstdint>
#include <vector>

#include "coordinator/metrics/family.h"
#include "coordinator/metrics/step_metrics.h"

namespace quire::metrics {

// Blocks of one rank: used, cached (not used, with what was computed in them) and free ones are all of them.
struct RankBlocks {
  int64_t device_total = 0;
  int64_t device_used = 0;
  int64_t device_cached = 0;
  int64_t host_total = 0;
  int64_t host_used = 0;
};

struct ReplicaSnapshot {
  bool formed = false;
  int64_t num_ranks = 0;  // configured
  uint64_t epoch = 0;
  int64_t recoveries = 0;  // formations after the first
  uint64_t stale_replies = 0;
  int64_t running = 0;
  int64_t waiting = 0;
  int64_t waiting_tokens = 0;
  double oldest_waiting_seconds = 0;
  double tenant_gap_tokens = 0;
  double last_step_age_seconds = 0;  // 0 while nothing is in flight
  double kv_usage = 0;               // 0..1
  double kv_fragmentation = 0;       // 0..1
  int64_t device_blocks = 0;
  int64_t held_blocks = 0;
  std::vector<RankBlocks> ranks;
  int64_t prompt_tokens = 0;
  int64_t generation_tokens = 0;
  int64_t swaps = 0;
  int64_t recomputes = 0;
  int64_t forks = 0;
  int64_t block_copies = 0;
  int64_t blocks_swapped_out = 0;
  int64_t blocks_swapped_in = 0;
  int64_t cache_queries = 0;  // tokens
  int64_t cache_hits = 0;     // tokens
  int64_t draft_tokens = 0;
  int64_t accepted_tokens = 0;
  double read_bytes = 0;               // at least, of memory, since the start
  double flops = 0;                    // likewise
  double bandwidth_use = 0;            // 0..1 of recent steps
  double compute_use = 0;              // likewise
  const StepMetrics* steps = nullptr;  // of the replica, which outlives the snapshot
};

struct Snapshot {
  bool ready = false;
  double uptime_seconds = 0;
  int64_t block_size = 0;             // tokens; 0 = no replica has formed yet
  double weights_load_seconds = 0;    // of the slowest replica
  bool knows_peak_bandwidth = false;  // bandwidth_use means something
  bool knows_peak_compute = false;
  std::vector<ReplicaSnapshot> replicas;
};

void AddSnapshot(const Snapshot& snapshot, FamilyList* list);

}  // namespace quire::metrics

#endif  // QUIRE_COORDINATOR_METRICS_SNAPSHOT_H_
