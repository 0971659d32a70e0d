// What the metrics page says of the engines. See api.h.
#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/device_use.h"

namespace quire::frontend {
namespace {

metrics::RankBlocks BlocksOf(const RankUsage& rank) {
  metrics::RankBlocks blocks;
  blocks.device_total = rank.device_blocks_total;
  blocks.device_used = rank.device_blocks_used;
  blocks.device_cached = rank.device_blocks_cached;
  blocks.host_total = rank.host_blocks_total;
  blocks.host_used = rank.host_blocks_used;
  return blocks;
}

// Of the rank that is fullest: as soon as one has no block, all are full.
double KvUsage(const std::vector<RankUsage>& ranks) {
  double most = 0;
  for (const RankUsage& rank : ranks) {
    if (rank.device_blocks_total == 0) continue;
    most = std::max(most, static_cast<double>(rank.device_blocks_used) / rank.device_blocks_total);
  }
  return most;
}

metrics::ReplicaSnapshot SnapshotOf(const engine::ReplicaReport& report, const ApiOptions& options) {
  const engine::Loads& loads = report.loads;
  metrics::ReplicaSnapshot replica;
  replica.formed = report.state.formed;
  replica.num_ranks = report.num_ranks;
  replica.epoch = report.state.epoch;
  replica.recoveries = loads.num_recoveries;
  replica.stale_replies = loads.stale_replies_total;
  replica.running = loads.num_running_reqs;
  replica.waiting = loads.num_waiting_reqs;
  replica.waiting_tokens = loads.num_waiting_tokens;
  replica.oldest_waiting_seconds = loads.oldest_waiting_seconds;
  replica.tenant_gap_tokens = loads.tenant_gap_tokens;
  replica.last_step_age_seconds = loads.last_step_age_seconds;
  replica.kv_usage = KvUsage(loads.ranks);
  replica.kv_fragmentation = loads.fragmentation;
  replica.device_blocks = report.state.num_blocks;
  replica.held_blocks = loads.held_blocks;
  for (const RankUsage& rank : loads.ranks) replica.ranks.push_back(BlocksOf(rank));
  replica.prompt_tokens = loads.prompt_tokens_total;
  replica.generation_tokens = loads.generation_tokens_total;
  replica.swaps = loads.num_swaps;
  replica.recomputes = loads.num_preemptions - loads.num_swaps;
  replica.forks = loads.num_forks;
  replica.block_copies = loads.num_block_copies;
  replica.blocks_swapped_out = loads.blocks_swapped_out;
  replica.blocks_swapped_in = loads.blocks_swapped_in;
  replica.cache_queries = loads.cache_queried_tokens_total;
  replica.cache_hits = loads.cache_hit_tokens_total;
  replica.draft_tokens = loads.spec_decode_num_draft_tokens_total;
  replica.accepted_tokens = loads.spec_decode_num_accepted_tokens_total;
  replica.read_bytes = loads.read_bytes_total;
  replica.flops = loads.flops_total;
  const DeviceUse use = DeviceUseOf(loads, report.num_ranks, options);
  replica.bandwidth_use = use.bandwidth;
  replica.compute_use = use.compute;
  replica.steps = report.step_metrics;
  return replica;
}

}  // namespace

DeviceUse DeviceUseOf(const engine::Loads& loads, int num_ranks, const ApiOptions& options) {
  DeviceUse use;
  if (num_ranks == 0) return use;
  if (options.peak_bandwidth_gbs > 0) {
    use.bandwidth = loads.read_bytes_per_second / (num_ranks * options.peak_bandwidth_gbs * 1e9);
  }
  if (options.peak_tflops > 0) use.compute = loads.flops_per_second / (num_ranks * options.peak_tflops * 1e12);
  return use;
}

metrics::Snapshot Api::GetSnapshot() const {
  metrics::Snapshot snapshot;
  snapshot.ready = Ready();
  snapshot.uptime_seconds = absl::ToDoubleSeconds(absl::Now() - start_time_);
  ReplicaInfo info;
  cluster::ReplicaDescription description;
  if (engine_->GetReplica(&info, &description).ok()) {
    snapshot.block_size = info.block_size;
    snapshot.weights_load_seconds = description.load_seconds;
  }
  snapshot.knows_peak_bandwidth = options_.peak_bandwidth_gbs > 0;
  snapshot.knows_peak_compute = options_.peak_tflops > 0;
  for (const engine::ReplicaReport& report : engine_->GetReports()) {
    snapshot.replicas.push_back(SnapshotOf(report, options_));
  }
  return snapshot;
}

}  // namespace quire::frontend
