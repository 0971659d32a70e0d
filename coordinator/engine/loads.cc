// Loads from what core and engine know. See loads.h.
#include "coordinator/engine/loads.h"

#include <algorithm>

#include "coordinator/engine/core.h"
#include "coordinator/engine/step_stats.h"

namespace quire::engine {

Loads MakeLoads(const CoreStats& core, const StepStats& steps) {
  Loads loads;
  loads.num_running_reqs = core.num_running_reqs;
  loads.num_waiting_reqs = core.num_waiting_reqs;
  loads.num_used_tokens = core.tokens_used;
  loads.num_preemptions = core.num_preemptions;
  loads.num_swaps = core.num_swaps;
  loads.generation_tokens_total = core.generation_tokens;
  loads.prompt_tokens_total = core.prompt_tokens;
  loads.stale_replies_total = static_cast<uint64_t>(core.stale_results);
  loads.cached_blocks = core.blocks_cached;
  loads.held_blocks = core.blocks_held;
  loads.cache_queried_tokens_total = core.cache_queried_tokens;
  loads.cache_hit_tokens_total = core.cache_hit_tokens;
  loads.num_forks = core.planned.forks;
  loads.num_block_copies = core.planned.block_copies;
  loads.blocks_swapped_out = core.planned.blocks_swapped_out;
  loads.blocks_swapped_in = core.planned.blocks_swapped_in;
  loads.spec_decode_num_draft_tokens_total = core.num_drafted;
  loads.spec_decode_num_accepted_tokens_total = core.num_accepted;
  loads.num_waiting_tokens = core.num_waiting_tokens;
  loads.tenant_gap_tokens = core.tenant_gap;
  loads.steps = steps.total_steps();
  loads.step_seconds_p50 = steps.StepP50();
  loads.worker_seconds_p50 = steps.WorkerP50();
  loads.read_bytes_total = steps.read_bytes();
  loads.flops_total = steps.flops();
  return loads;
}

void AddLoads(const Loads& o, Loads* sum) {
  static_assert(sizeof(Loads) == 34 * 8 + sizeof(std::vector<RankUsage>), "a new field of Loads belongs here too");
  sum->num_running_reqs += o.num_running_reqs;
  sum->num_waiting_reqs += o.num_waiting_reqs;
  const auto slots = [](const Loads& l) {  // of used blocks
    return l.fragmentation < 1 ? static_cast<double>(l.num_used_tokens) / (1 - l.fragmentation) : 0;
  };
  const double used_slots = slots(*sum) + slots(o);
  sum->num_used_tokens += o.num_used_tokens;
  sum->fragmentation = used_slots > 0 ? 1 - static_cast<double>(sum->num_used_tokens) / used_slots : 0;
  sum->max_total_num_tokens += o.max_total_num_tokens;
  sum->num_preemptions += o.num_preemptions;
  sum->num_swaps += o.num_swaps;
  sum->generation_tokens_total += o.generation_tokens_total;
  sum->prompt_tokens_total += o.prompt_tokens_total;
  sum->gen_throughput += o.gen_throughput;
  sum->cached_blocks += o.cached_blocks;
  sum->held_blocks += o.held_blocks;
  sum->cache_queried_tokens_total += o.cache_queried_tokens_total;
  sum->cache_hit_tokens_total += o.cache_hit_tokens_total;
  sum->num_forks += o.num_forks;
  sum->num_block_copies += o.num_block_copies;
  sum->blocks_swapped_out += o.blocks_swapped_out;
  sum->blocks_swapped_in += o.blocks_swapped_in;
  sum->spec_decode_num_draft_tokens_total += o.spec_decode_num_draft_tokens_total;
  sum->spec_decode_num_accepted_tokens_total += o.spec_decode_num_accepted_tokens_total;
  sum->stale_replies_total += o.stale_replies_total;
  sum->epoch = std::max(sum->epoch, o.epoch);
  sum->steps += o.steps;
  sum->step_seconds_p50 = std::max(sum->step_seconds_p50, o.step_seconds_p50);
  sum->worker_seconds_p50 = std::max(sum->worker_seconds_p50, o.worker_seconds_p50);
  sum->num_waiting_tokens += o.num_waiting_tokens;
  sum->oldest_waiting_seconds = std::max(sum->oldest_waiting_seconds, o.oldest_waiting_seconds);
  sum->tenant_gap_tokens = std::max(sum->tenant_gap_tokens, o.tenant_gap_tokens);
  sum->num_recoveries += o.num_recoveries;
  sum->last_step_age_seconds = std::max(sum->last_step_age_seconds, o.last_step_age_seconds);
  sum->read_bytes_total += o.read_bytes_total;
  sum->flops_total += o.flops_total;
  sum->read_bytes_per_second += o.read_bytes_per_second;
  sum->flops_per_second += o.flops_per_second;
  sum->ranks.insert(sum->ranks.end(), o.ranks.begin(), o.ranks.end());
}

}  // namespace quire::engine
