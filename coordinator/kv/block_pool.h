// Owns the ids of a replica's device blocks: reference counts and the free list. Engine thread only.
//
// A free block may still hold content that the prefix cache knows (see prefix_index.h): it waits in eviction order and
// can be revived by Ref until Take reaches it.
// Invariants:
//   P1  num_free() + num_used() == num_total(); a block is free iff its reference count is 0.
//   P2  Ids are in [0, num_total()); handing in another id, or dropping a reference that is not there, is a bug and
//       CHECK-fails.
//   P3  Take gives blocks without content first, then the content that was let go first, held content last.
#ifndef QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
#define QUIRE_COORDINATOR_KV_BLOCK_POOL_H_

#include <cstdint>
#include <vector>

namespace quire::kv {

// What a free block still holds, and so when it is evicted.
enum class Content : uint8_t {
  kNone,    // at once
  kCached,  // in the order in which blocks were let go
  kHeld,    // only when nothing else is free: part of a shared prefix that a live request names
};

class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  int64_t num_total() const { return static_cast<int64_t>(refs_.size()); }
  int64_t num_free() const { return num_free_; }
  int64_t num_used() const { return num_total() - num_free_; }
  // Free blocks with held content; num_free() counts them too.
  int64_t num_held_free() const { return num_held_free_; }
  int32_t refs(int32_t block) const;

  // Takes the free block that is evicted first, with one reference. Requires: num_free() > 0 (no capacity is found out
  // before, by num_free()).
  int32_t Take();
  // Adds a reference; revives a free block.
  void Ref(int32_t block);
  // Drops one reference; the last one frees the block, to its place in the order of eviction.
  void Unref(int32_t block, Content content);
  // The content of a free block is held, or no longer. No effect on a used block.
  void SetHeld(int32_t block, bool held);

 private:
  // The free list is a ring, doubly linked through these: head(), blocks without content, cached ones, mark(), held
  // ones.
  struct Link {
    int32_t next = 0;
    int32_t previous = 0;
    bool held = false;
  };
  int32_t head() const { return static_cast<int32_t>(num_total()); }
  int32_t mark() const { return head() + 1; }
  void Unlink(int32_t block);
  void LinkAfter(int32_t place, int32_t block);
  void Free(int32_t block, Content content);

  std::vector<int32_t> refs_;
  std::vector<Link> links_;
  int64_t num_free_ = 0;
  int64_t num_held_free_ = 0;
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
