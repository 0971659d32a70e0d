#include "kernels/cuda/launch_plan.h"

#include <algorithm>
#include <unordered_set>

namespace quire::kernels::cuda {
namespace {

constexpr int64_t kBlocksPerMultiprocessor = 4;
constexpr int64_t kSplitsMax = 65535;  // of a grid's z

}  // namespace

void TileQueries(absl::Span<const int32_t> query_start, int64_t queries_per_tile, std::vector<QueryTile>* tiles) {
  for (size_t s = 0; s + 1 < query_start.size(); ++s) {
    for (int64_t row = query_start[s]; row < query_start[s + 1]; row += queries_per_tile) {
      const int64_t count = std::min<int64_t>(queries_per_tile, query_start[s + 1] - row);
      tiles->push_back({static_cast<int32_t>(row), static_cast<int32_t>(count), static_cast<int32_t>(s)});
    }
  }
}

SplitPlan PlanSplits(const SplitRequest& r) {
  SplitPlan plan = {1, r.num_tiles};
  const int64_t wanted = r.num_multiprocessors * kBlocksPerMultiprocessor;
  const int64_t blocks = std::max<int64_t>(r.num_tiles * r.blocks_per_tile, 1);
  if (blocks >= wanted || r.max_chunks <= 1 || r.workspace_bytes_per_tile > r.workspace_bytes) return plan;
  plan.num_splits = std::min({(wanted + blocks - 1) / blocks, r.max_chunks, kSplitsMax});
  plan.tiles_per_launch = std::min(r.num_tiles, r.workspace_bytes / std::max<int64_t>(r.workspace_bytes_per_tile, 1));
  return plan;
}

std::vector<int64_t> IndependentRuns(absl::Span<const std::pair<int32_t, int32_t>> copies) {
  std::vector<int64_t> ends;
  std::unordered_set<int32_t> read, written;
  for (size_t i = 0; i < copies.size(); ++i) {
    const auto& [from, to] = copies[i];
    if (written.count(from) > 0 || written.count(to) > 0 || read.count(to) > 0) {
      ends.push_back(static_cast<int64_t>(i));
      read.clear();
      written.clear();
    }
    read.insert(from);
    written.insert(to);
  }
  if (!copies.empty()) ends.push_back(static_cast<int64_t>(copies.size()));
  return ends;
}

}  // namespace quire::kernels::cuda
