#include "coordinator/engine/block_map.h"

#include <algorithm>
#include <utility>

namespace quire::engine {
namespace {

int64_t PerCell(int64_t blocks) {
  return std::max<int64_t>(1, (blocks + BlockMap::kMaxCells - 1) / BlockMap::kMaxCells);
}

}  // namespace

BlockMap DrawBlockMap(const kv::KvManager& kv) {
  BlockMap map;
  map.device_blocks = kv.pool().num_total();
  map.device_blocks_per_cell = PerCell(map.device_blocks);
  map.host_blocks = kv.host_pool().num_total();
  map.host_blocks_per_cell = PerCell(map.host_blocks);
  const auto cells = [](int64_t blocks, int64_t per_cell) {
    return std::vector<int32_t>(static_cast<size_t>((blocks + per_cell - 1) / per_cell));
  };
  map.shared = map.used = map.cached = cells(map.device_blocks, map.device_blocks_per_cell);
  map.swapped = cells(map.host_blocks, map.host_blocks_per_cell);
  for (int32_t b = 0; b < map.device_blocks; ++b) {
    const size_t cell = static_cast<size_t>(b / map.device_blocks_per_cell);
    const int32_t refs = kv.pool().refs(b);
    map.shared[cell] += refs > 1;
    map.used[cell] += refs == 1;
    map.cached[cell] += refs == 0 && kv.index().Contains(b);
  }
  for (int32_t b = 0; b < map.host_blocks; ++b) {
    map.swapped[static_cast<size_t>(b / map.host_blocks_per_cell)] += kv.host_pool().refs(b) > 0;
  }
  return map;
}

BlockMap BlockMapView::Look(absl::Time now, bool* stale) {
  absl::MutexLock lock(&mutex_);
  wanted_ = true;
  *stale = now - drawn_ > kMaxAge;
  return map_;
}

void BlockMapView::Refresh(absl::Time now, const kv::KvManager& kv) {
  {
    absl::MutexLock lock(&mutex_);
    if (!wanted_ || now - drawn_ < kMaxAge) return;
  }
  BlockMap map = DrawBlockMap(kv);  // nobody waits for this
  absl::MutexLock lock(&mutex_);
  map_ = std::move(map);
  drawn_ = now;
  wanted_ = false;
}

}  // namespace quire::engine
