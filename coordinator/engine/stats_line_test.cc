#include "coordinator/engine/stats_line.h"

#include <gtest/gtest.h>

namespace quire::engine {
namespace {

TEST(StatsLineTest, SaysAll) {
  StatsLineInput input;
  CoreStats& core = input.core;
  core.num_running_reqs = 3;
  core.num_waiting_reqs = 2;
  core.num_preemptions = 7;
  core.num_swaps = 5;
  core.blocks_used = 10;
  core.tokens_used = 152;
  core.cache_queried_tokens = 900;
  core.cache_hit_tokens = 640;
  core.planned = {11, 12, 13, 14};
  input.block_size = 16;
  input.tokens_per_second = 1234;
  input.step_seconds_p50 = 0.0125;
  input.ranks.resize(2);
  input.ranks[0].device_blocks_total = input.ranks[1].device_blocks_total = 100;
  input.ranks[0].device_blocks_used = input.ranks[1].device_blocks_used = 10;
  input.ranks[0].device_blocks_cached = 40;
  input.ranks[1].host_blocks_total = 50;
  input.ranks[1].host_blocks_used = 4;
  EXPECT_EQ(StatsLine(input),
            "running 3, waiting 2, 1234 tok/s, step p50 12.5 ms, blocks rank0=10+40/100 rank1=10+0/100 (host 4/50), "
            "fragmentation 5.0%, swaps 5 (13 blocks out, 14 in), recomputes 2, forks 11, copies 12, cache hits 640/900 "
            "tokens");
  core.num_drafted = 9;
  core.num_accepted = 8;
  EXPECT_NE(StatsLine(input).find("drafts accepted 8/9"), std::string::npos);
}

TEST(StatsLineTest, AnIdleServerHasNoFragmentation) { EXPECT_EQ(CoreStats().fragmentation(16), 0); }

}  // namespace
}  // namespace quire::engine
