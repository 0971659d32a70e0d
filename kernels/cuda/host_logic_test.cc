// The decisions of the CUDA backend's host code, with an emulated device behind the seam.
#include <cstring>
#include <random>
#include <set>

#include "gtest/gtest.h"
#include "kernels/cuda/algorithm_cache.h"
#include "kernels/cuda/argument_ring.h"
#include "kernels/cuda/caching_allocator.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/emulator/emulated_device.h"
#include "kernels/cuda/launch_plan.h"
#include "kernels/cuda/sampling_steps.h"

namespace quire::kernels::cuda {
namespace {

using emulator::EmulatedDevice;

constexpr int64_t kMiB = 1 << 20;

TEST(ArgumentRing, SendsWhatChangedAndOnlyThat) {
  EmulatedDevice device(64 * kMiB);
  ArgumentRing ring(&device, 4096);
  std::vector<int32_t> ids = {1, 2, 3}, tables(100, 7);
  const void* first = ring.Upload(ids.data(), 12);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(std::memcmp(first, ids.data(), 12), 0);
  ring.Upload(tables.data(), 400);
  for (int layer = 0; layer < 30; ++layer) {
    EXPECT_EQ(ring.Upload(ids.data(), 12), first);
    ring.Upload(tables.data(), 400);
  }
  EXPECT_EQ(ring.num_copies(), 2);
  ids[1] = 9;  // the same place, other content: another copy, and the first stays what it was
  const void* second = ring.Upload(ids.data(), 12);
  EXPECT_NE(second, first);
  EXPECT_EQ(static_cast<const int32_t*>(second)[1], 9);
  EXPECT_EQ(static_cast<const int32_t*>(first)[1], 2);
  EXPECT_EQ(ring.num_copies(), 3);
  const void* shorter = ring.Upload(ids.data(), 8);
  EXPECT_NE(shorter, second);
  EXPECT_TRUE(ring.status().ok());
}

TEST(ArgumentRing, MarksSegmentsItLeavesAndWaitsBeforeItReturns) {
  EmulatedDevice device(64 * kMiB);
  ArgumentRing ring(&device, 1024);
  std::vector<std::vector<int32_t>> arrays;
  for (int i = 0; i < 20; ++i) arrays.emplace_back(128, i);  // two fill a segment
  for (int i = 0; i < 20; ++i) {
    const void* there = ring.Upload(arrays[i].data(), 512);
    ASSERT_EQ(std::memcmp(there, arrays[i].data(), 512), 0);
    // What was sent into this segment's last round is forgotten, what came since is remembered.
    if (i > 0) {
      EXPECT_EQ(std::memcmp(ring.Upload(arrays[i - 1].data(), 512), arrays[i - 1].data(), 512), 0);
    }
  }
  EXPECT_EQ(ring.num_copies(), 20);
  EXPECT_EQ(device.num_records(), 9);
  EXPECT_EQ(device.num_waits(), 9);
}

TEST(ArgumentRing, GrowsForALargeArrayAndReportsNoMemory) {
  EmulatedDevice device(kMiB);
  ArgumentRing ring(&device, 1024);
  std::vector<char> large(100 << 10, 'x'), too_large(kMiB, 'y');
  const void* there = ring.Upload(large.data(), large.size());
  ASSERT_NE(there, nullptr);
  EXPECT_EQ(std::memcmp(there, large.data(), large.size()), 0);
  EXPECT_EQ(ring.Upload(too_large.data(), too_large.size()), nullptr);
  EXPECT_TRUE(absl::IsResourceExhausted(ring.status())) << ring.status();
  EXPECT_EQ(ring.Upload(large.data(), 4), nullptr) << "the first error stays";
}

TEST(CachingAllocator, PiecesDoNotOverlapAndJoinAgain) {
  EmulatedDevice device(1024 * kMiB);
  CachingAllocator allocator(&device);
  std::mt19937 rng(5);
  std::map<char*, int64_t> live;
  for (int i = 0; i < 4000; ++i) {
    if (live.size() > 60 || (!live.empty() && rng() % 2 == 0)) {
      auto it = live.begin();
      std::advance(it, rng() % live.size());
      allocator.Free(it->first);
      live.erase(it);
      continue;
    }
    const int64_t bytes = rng() % 3 == 0 ? rng() % (2 * kMiB) : rng() % 5000;
    char* memory = static_cast<char*>(allocator.Allocate(bytes).value());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % CachingAllocator::kAlignment, 0u);
    const auto next = live.lower_bound(memory);
    if (next != live.end()) {
      ASSERT_LE(memory + bytes, next->first);
    }
    if (next != live.begin()) {
      ASSERT_LE(std::prev(next)->first + std::prev(next)->second, memory);
    }
    live[memory] = bytes;
  }
  EXPECT_LE(device.num_allocations(), 6) << "small pieces share slabs";
  for (const auto& [memory, bytes] : live) allocator.Free(memory);
  EXPECT_EQ(allocator.FreeBytes().value(), 1024 * kMiB) << "all of it is whole again";
  EXPECT_EQ(allocator.kept_bytes(), device.num_allocations() * CachingAllocator::kSlabBytes);
}

TEST(CachingAllocator, LargePiecesAreKeptAndGivenBackWhenMemoryEnds) {
  EmulatedDevice device(100 * kMiB);
  CachingAllocator allocator(&device);
  void* cache = allocator.Allocate(60 * kMiB).value();
  allocator.Free(cache);
  EXPECT_EQ(allocator.Allocate(60 * kMiB).value(), cache) << "kept";
  EXPECT_EQ(device.num_allocations(), 1);
  allocator.Free(cache);
  void* larger = allocator.Allocate(80 * kMiB).value();  // only if the 60 go back
  EXPECT_EQ(device.num_allocations(), 2);
  void* small = allocator.Allocate(100).value();  // no room for a slab
  const absl::Status refused = allocator.Allocate(50 * kMiB).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused));
  EXPECT_NE(refused.message().find("52428800 bytes"), std::string::npos) << refused;
  EXPECT_NE(refused.message().find("104857600 are free"), std::string::npos) << refused;
  allocator.Free(larger);
  allocator.Free(small);
}

TEST(AlgorithmCache, AsksOnceForAShapeAndForgetsTheOldestUse) {
  AlgorithmCache<int> cache(3);
  int asked = 0;
  const auto find = [&](int64_t rows) {
    ProductShape shape;
    shape.num_rows = rows;
    return *cache.Find(shape, [&]() -> std::optional<int> {
      ++asked;
      if (rows == 13) return std::nullopt;
      return static_cast<int>(rows * 10);
    });
  };
  EXPECT_EQ(find(1), 10);
  EXPECT_EQ(find(13), std::nullopt);
  EXPECT_EQ(find(2), 20);
  EXPECT_EQ(find(13), std::nullopt);
  EXPECT_EQ(find(1), 10);
  EXPECT_EQ(asked, 3) << "also for a shape that cannot be done";
  EXPECT_EQ(find(3), 30);  // 2 leaves
  EXPECT_EQ(find(1), 10);
  EXPECT_EQ(find(13), std::nullopt);
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(find(2), 20);
  EXPECT_EQ(asked, 5);
  EXPECT_EQ(cache.size(), 3u);
}

TEST(AlgorithmCache, ShapesDifferInWhatAChoiceHangsOn) {
  alignas(16) float memory[64];
  BlasCall call;
  call.x = memory;
  call.out = memory;
  call.num_rows = 3;
  call.x_pitch = 8;
  call.out_stride = 8;
  call.weight.dtype = DType::kBF16;
  call.weight.rows = 5;
  call.weight.cols = 7;
  call.weight.pitch = 8;
  const ProductShape plain = ShapeOf(call);
  EXPECT_EQ(plain.x_alignment, 16);
  EXPECT_EQ(plain.out_alignment, 16);
  std::set<decltype(plain.Key())> keys = {plain.Key()};
  const auto differs = [&](BlasCall other) { EXPECT_TRUE(keys.insert(ShapeOf(other).Key()).second); };
  BlasCall other = call;
  other.out = memory + 1;
  EXPECT_EQ(ShapeOf(other).out_alignment, 4);
  differs(other);
  other = call;
  other.out_stride = 10;
  EXPECT_EQ(ShapeOf(other).out_alignment, 8);
  differs(other);
  other = call;
  other.bias = memory;
  differs(other);
  other = call;
  other.weight.dtype = DType::kF16;
  differs(other);
  other = call;
  other.weight.cols = 8;
  differs(other);
}

TEST(LaunchPlan, TilesCoverEveryQueryOnceAndNoTwoSequences) {
  std::vector<QueryTile> tiles;
  TileQueries({0, 1, 1, 6, 10}, 4, &tiles);  // one, none, five and four queries
  const int expected[][3] = {{0, 1, 0}, {1, 4, 2}, {5, 1, 2}, {6, 4, 3}};
  ASSERT_EQ(tiles.size(), 4u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(tiles[i].first_row, expected[i][0]);
    EXPECT_EQ(tiles[i].num_queries, expected[i][1]);
    EXPECT_EQ(tiles[i].sequence, expected[i][2]);
  }
  EXPECT_EQ(QueriesOfBlock(1), 8);
  EXPECT_EQ(QueriesOfBlock(3), 2);
  EXPECT_EQ(QueriesOfBlock(5), 1);
  EXPECT_EQ(QueriesOfBlock(71), 1);
}

TEST(LaunchPlan, SplitsFillTheDeviceAndFitTheWorkspace) {
  SplitRequest r;
  r.num_tiles = 1;
  r.blocks_per_tile = 8;
  r.max_chunks = 100;
  r.workspace_bytes_per_tile = 1000;
  r.workspace_bytes = 10000;
  r.num_multiprocessors = 132;
  EXPECT_EQ(PlanSplits(r).num_splits, 66);
  r.max_chunks = 10;
  EXPECT_EQ(PlanSplits(r).num_splits, 10) << "no more than chunks";
  r.num_tiles = 20;
  const SplitPlan plan = PlanSplits(r);
  EXPECT_EQ(plan.num_splits, 4);
  EXPECT_EQ(plan.tiles_per_launch, 10);
  r.num_tiles = 66;
  EXPECT_EQ(PlanSplits(r).num_splits, 1) << "the tiles fill the device";
  EXPECT_EQ(PlanSplits(r).tiles_per_launch, 66);
  r.num_tiles = 1;
  r.workspace_bytes_per_tile = 10001;
  EXPECT_EQ(PlanSplits(r).num_splits, 1) << "no room for one tile's partial answers";
  r.max_chunks = 1;
  EXPECT_EQ(PlanSplits(r).num_splits, 1);
}

// Runs done one after another, each all at once, give what copies in order give.
TEST(LaunchPlan, RunsOfCopiesKeepTheirOrder) {
  using Copies = std::vector<std::pair<int32_t, int32_t>>;
  EXPECT_TRUE(IndependentRuns({}).empty());
  EXPECT_EQ(IndependentRuns(Copies{{0, 1}, {0, 2}, {3, 4}}), (std::vector<int64_t>{3}));
  EXPECT_EQ(IndependentRuns(Copies{{0, 1}, {1, 2}, {3, 0}}), (std::vector<int64_t>{1, 3}));
  std::mt19937 rng(1);
  for (int round = 0; round < 300; ++round) {
    Copies copies(rng() % 12);
    for (auto& [from, to] : copies) {
      from = static_cast<int32_t>(rng() % 8);
      to = static_cast<int32_t>(rng() % 8);
    }
    std::vector<int> expected = {0, 1, 2, 3, 4, 5, 6, 7}, got = expected;
    for (const auto& [from, to] : copies) expected[to] = expected[from];
    size_t begin = 0;
    for (int64_t end : IndependentRuns(copies)) {
      const std::vector<int> before = got;
      for (size_t i = end; i-- > begin;) got[copies[i].second] = before[copies[i].first];
      begin = end;
    }
    EXPECT_EQ(begin, copies.size());
    EXPECT_EQ(got, expected) << "round " << round;
  }
}

TEST(SamplingSteps, EditsLieFlatAndRawLogitsFindTheirRows) {
  const std::vector<int32_t> allowed = {4, 5}, banned = {7}, seen = {1, 2}, counts = {3, 0};
  const std::vector<std::pair<int32_t, float>> bias = {{9, 0.5f}}, twice = {{9, 0.5f}, {9, 1.0f}};
  std::vector<LogitEdits> edits(3);
  edits[1].allowed = allowed;
  edits[1].bias = bias;
  edits[1].banned = banned;
  edits[1].seen = seen;
  edits[1].seen_counts = counts;
  edits[1].presence_penalty = 0.5f;
  edits[2].bias = twice;
  std::vector<SampleResult> results(3);
  results[1].wants_logprob = true;
  FlatEdits flat;
  flat.Fill(edits, results);
  ASSERT_EQ(flat.rows.size(), 2u) << "a row without edits takes no part";
  EXPECT_EQ(flat.rows[0].row, 1);
  EXPECT_EQ(flat.ids, (std::vector<int32_t>{4, 5, 9, 7, 1, 2, 9, 9}));
  EXPECT_EQ(flat.counts[flat.rows[0].seen_begin], 3);
  EXPECT_EQ(flat.biases[flat.rows[0].bias_begin], 0.5f);
  EXPECT_EQ(flat.rows[0].serial_bias, 0);
  EXPECT_EQ(flat.rows[1].serial_bias, 1);
  EXPECT_EQ(flat.rows[1].raw_begin, -1);
  EXPECT_EQ(flat.num_raw, 4);
  const float raw[] = {0.9f, 0.7f, 0.1f, 0.2f};
  flat.KeepRaw(raw, absl::MakeSpan(results));
  EXPECT_EQ(results[1].raw_edited,
            (std::vector<std::pair<int32_t, float>>{{1, 0.1f}, {2, 0.2f}, {7, 0.7f}, {9, 0.9f}}));
  EXPECT_TRUE(results[2].raw_edited.empty());
}

TEST(CudaMemory, PackedRowsArePaddedWithZeros) {
  const std::vector<float> part = {1, 2, 3, 4, 5, 6};
  std::vector<float> to(2 * 8, -1.0f);
  const TensorView view = MakeView(const_cast<float*>(part.data()), DType::kF32, {2, 3});
  PackRows(view, 0, 2, DType::kF32, 8, reinterpret_cast<char*>(to.data()));
  EXPECT_EQ(to, (std::vector<float>{1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0}));
  std::vector<float> across(3 * 8, -1.0f);
  PackRows(Transpose(view), 1, 2, DType::kF32, 8, reinterpret_cast<char*>(across.data()));
  EXPECT_EQ(across[0], 2.0f);
  EXPECT_EQ(across[1], 5.0f);
  EXPECT_EQ(across[8], 3.0f);
  EXPECT_EQ(across[9], 6.0f);
}

}  // namespace
}  // namespace quire::kernels::cuda
