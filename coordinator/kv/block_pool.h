// Owns the ids of a replica's device blocks: reference counts and the free list. Engine thread only.
//
// Invariants:
//   P1  num_free() + num_used() == num_total(); a block is free iff its reference count is 0.
//   P2  Ids are in [0, num_total()); handing in another id, or dropping a reference that is not there, is a bug and CHECK-fails.
#ifndef QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
#define QUIRE_COORDINATOR_KV_BLOCK_POOL_H_

#include <cstdint>
#include <vector>

namespace quire::kv {

class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  int64_t num_total() const { return static_cast<int64_t>(refs_.size()); }
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }
  int64_t num_used() const { return num_total() - num_free(); }
  int32_t refs(int32_t block) const;

  // Takes a free block with one reference. Requires: num_free() > 0 (no capacity is found out before, by num_free()).
  int32_t Take();
  void Ref(int32_t block);
  // Drops one reference; the last one frees the block.
  void Unref(int32_t block);

 private:
  std::vector<int32_t> refs_;
  std::vector<int32_t> free_;  // a stack: the block freed last is still warm in the caches
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
