#include "coordinator/engine/stats_line.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quire::engine {

std::string StatsLine(const StatsLineInput& input) {
  const CoreStats& core = input.core;
  std::string line =
      absl::StrFormat("running %d, waiting %d, %.0f tok/s, step p50 %.1f ms, blocks", core.num_running_reqs,
                      core.num_waiting_reqs, input.tokens_per_second, input.step_seconds_p50 * 1e3);
  for (size_t r = 0; r < input.ranks.size(); ++r) {
    const RankUsage& rank = input.ranks[r];
    absl::StrAppend(&line, " rank", r, "=", rank.device_blocks_used, "+", rank.device_blocks_cached, "/",
                    rank.device_blocks_total);
    if (rank.host_blocks_total > 0) {
      absl::StrAppend(&line, " (host ", rank.host_blocks_used, "/", rank.host_blocks_total, ")");
    }
  }
  absl::StrAppendFormat(&line, ", fragmentation %.1f%%", 100 * core.fragmentation(input.block_size));
  absl::StrAppend(&line, ", swaps ", core.num_swaps, " (", core.planned.blocks_swapped_out, " blocks out, ",
                  core.planned.blocks_swapped_in, " in), recomputes ", core.num_preemptions - core.num_swaps,
                  ", forks ", core.planned.forks, ", copies ", core.planned.block_copies, ", cache hits ",
                  core.cache_hit_tokens, "/", core.cache_queried_tokens, " tokens");
  if (core.num_drafted > 0) absl::StrAppend(&line, ", drafts accepted ", core.num_accepted, "/", core.num_drafted);
  return line;
}

}  // namespace quire::engine
