// What the KV blocks of a replica are in use for, as a picture of bounded size: for people who look at the status page.
//
// Threads: the engine's thread draws, at most every kMaxAge and only while somebody looks; any thread may look.
#ifndef QUIRE_COORDINATOR_ENGINE_BLOCK_MAP_H_
#define QUIRE_COORDINATOR_ENGINE_BLOCK_MAP_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/kv/kv_manager.h"

namespace quire::engine {

// Neighbouring blocks make a cell. Ranks of a replica hold their parts of the same blocks, so the map is all of theirs.
struct BlockMap {
  static constexpr int64_t kMaxCells = 400;  // of device blocks, and of host blocks

  int64_t device_blocks = 0;
  int64_t device_blocks_per_cell = 1;
  int64_t host_blocks = 0;
  int64_t host_blocks_per_cell = 1;
  // Blocks of each cell; those that are none of these are free.
  std::vector<int32_t> shared;   // used by several sequences
  std::vector<int32_t> used;     // by one
  std::vector<int32_t> cached;   // by none, and the prefix cache knows what is in them
  std::vector<int32_t> swapped;  // host blocks that hold a preempted sequence's
};

BlockMap DrawBlockMap(const kv::KvManager& kv);

class BlockMapView {
 public:
  static constexpr absl::Duration kMaxAge = absl::Milliseconds(250);

  // The last map; empty at first. `*stale`: it is older than kMaxAge, so the engine should get a turn.
  BlockMap Look(absl::Time now, bool* stale);
  // Draws again if somebody looked since the last time and that is long enough ago. Engine thread only.
  void Refresh(absl::Time now, const kv::KvManager& kv);

 private:
  absl::Mutex mutex_;
  bool wanted_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time drawn_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  BlockMap map_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_BLOCK_MAP_H_
