// What the core tells of itself.
#include "coordinator/engine/core.h"

namespace quire::engine {

using request::Sequence;

CoreStats Core::stats() const {
  CoreStats stats;
  stats.generation_tokens = generation_tokens_;
  stats.prompt_tokens = prompt_tokens_;
  stats.stale_results = stale_results_;
  stats.planned = planned_;
  if (scheduler_ == nullptr) return stats;
  stats.num_running_reqs = static_cast<int64_t>(scheduler_->running().size());
  stats.num_waiting_reqs = static_cast<int64_t>(scheduler_->waiting().size());
  stats.num_waiting_tokens = scheduler_->waiting().tokens();
  stats.oldest_waiting = scheduler_->waiting().OldestArrival();
  stats.tenant_gap = scheduler_->tenants().Gap();
  stats.runs_alone = stats.num_running_reqs > 0 && scheduler_->running().front()->runs_alone();
  stats.num_preemptions = scheduler_->num_preemptions();
  stats.num_swaps = scheduler_->num_swaps();
  stats.most_preemptions = scheduler_->most_preemptions();
  stats.num_drafted = scheduler_->drafts().num_drafted();
  stats.num_accepted = scheduler_->drafts().num_accepted();
  stats.host_blocks_used = scheduler_->kv().host_pool().num_used();
  stats.blocks_total = scheduler_->kv().pool().num_total();
  stats.blocks_used = scheduler_->kv().pool().num_used();
  stats.blocks_cached = scheduler_->kv().index().size();
  stats.blocks_held = scheduler_->kv().num_held();
  stats.cache_queried_tokens = scheduler_->cache_queried_tokens();
  stats.cache_hit_tokens = scheduler_->cache_hit_tokens();
  // Only last blocks have empty slots; sharers of one each account for their part.
  const int64_t block_size = scheduler_->kv().block_size();
  double empty = 0;
  for (Group* group : scheduler_->running()) {
    group->ForEachLive([&](const Sequence& s) {
      if (s.blocks.empty()) return;
      stats.table_blocks += static_cast<int64_t>(s.blocks.size());
      const int64_t slots = static_cast<int64_t>(s.blocks.size()) * block_size - s.num_computed;
      empty += static_cast<double>(slots) / scheduler_->kv().pool().refs(s.blocks.back());
    });
  }
  stats.tokens_used = stats.blocks_used * block_size - static_cast<int64_t>(empty + 0.5);
  return stats;
}

}  // namespace quire::engine
