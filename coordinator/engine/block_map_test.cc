// The picture of a replica's blocks is true and bounded, and drawn only for those who look.
#include "coordinator/engine/block_map.h"

#include <gtest/gtest.h>

#include <numeric>

namespace quire::engine {
namespace {

using request::Sequence;
using request::SequenceGroup;

struct World {
  World(int64_t blocks, int64_t host_blocks) : kv({true, "0123456789abcdef"}, blocks, host_blocks, 4) {
    group.sequences.resize(2);
    for (uint32_t i = 0; i < 2; ++i) group.sequences[i].group = &group, group.sequences[i].seq = i;
    group.request.prompt_ids.assign(8, 5);
  }
  Sequence& operator[](size_t i) { return group.sequences[i]; }
  int64_t Sum(const std::vector<int32_t>& cells) { return std::accumulate(cells.begin(), cells.end(), int64_t{0}); }

  SequenceGroup group;
  kv::KvManager kv;
};

TEST(BlockMap, EveryBlockIsInItsCell) {
  World w(10, 6);
  StepPlan plan;
  w.kv.Grow(&w[0], 8, &plan, nullptr);
  w.kv.Fork(w[0], &w[1]);
  w.kv.Grow(&w[0], 1, &plan, nullptr);
  w.kv.Publish(&w[0]);
  BlockMap map = DrawBlockMap(w.kv);
  EXPECT_EQ(map.device_blocks_per_cell, 1);
  EXPECT_EQ(map.shared, (std::vector<int32_t>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(map.used, (std::vector<int32_t>{0, 0, 1, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(w.Sum(map.cached), 0) << "cached are only those that nobody uses";
  w.kv.Release(&w[0]);
  w.kv.Release(&w[1]);
  map = DrawBlockMap(w.kv);
  EXPECT_EQ(w.Sum(map.shared) + w.Sum(map.used), 0);
  EXPECT_EQ(map.cached, (std::vector<int32_t>{1, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(map.swapped, std::vector<int32_t>(6));
}

TEST(BlockMap, SwappedBlocksAreTheHosts) {
  World w(10, 6);
  StepPlan plan;
  w.group.sequences.resize(1);
  w.kv.Grow(&w[0], 6, &plan, nullptr);
  w.kv.SwapOut(&w.group, &plan);
  const BlockMap map = DrawBlockMap(w.kv);
  EXPECT_EQ(w.Sum(map.swapped), 2);
  EXPECT_EQ(w.Sum(map.used), 0);
}

TEST(BlockMap, IsBounded) {
  World w(BlockMap::kMaxCells * 7 + 1, 0);
  StepPlan plan;
  w.kv.Grow(&w[0], 4 * 9, &plan, nullptr);
  const BlockMap map = DrawBlockMap(w.kv);
  EXPECT_EQ(map.device_blocks_per_cell, 8);
  EXPECT_LE(map.used.size(), static_cast<size_t>(BlockMap::kMaxCells));
  EXPECT_EQ(map.used[0], 8);
  EXPECT_EQ(w.Sum(map.used), 9);
  EXPECT_TRUE(map.swapped.empty());
}

TEST(BlockMapView, DrawsOnlyForThoseWhoLook) {
  World w(10, 0);
  BlockMapView view;
  absl::Time now = absl::FromUnixSeconds(100);
  bool stale = false;
  view.Refresh(now, w.kv);
  EXPECT_EQ(view.Look(now, &stale).device_blocks, 0) << "nobody had looked";
  EXPECT_TRUE(stale);
  view.Refresh(now, w.kv);
  EXPECT_EQ(view.Look(now, &stale).device_blocks, 10);
  EXPECT_FALSE(stale);
  StepPlan plan;
  w.kv.Grow(&w[0], 1, &plan, nullptr);
  view.Refresh(now + BlockMapView::kMaxAge / 2, w.kv);
  EXPECT_EQ(w.Sum(view.Look(now, &stale).used), 0) << "too soon";
  view.Refresh(now + BlockMapView::kMaxAge, w.kv);
  EXPECT_EQ(w.Sum(view.Look(now, &stale).used), 1);
}

}  // namespace
}  // namespace quire::engine
