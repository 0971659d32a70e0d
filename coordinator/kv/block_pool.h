// Owns the ids of a replica's device blocks: reference counts and the free list. Engine thread only.
//
// A free block may still hold content that the prefix cache knows (see prefix_index.h): it waits in eviction order and
// can be revived by Ref until Take reaches it.
// Invariants:
//   P1  num_free() + num_used() == num_total(); a block is free iff its reference count is 0.
//   P2  Ids are in [0, num_total()); handing in another id, or dropping a reference that is not there, is a bug and
//       CHECK-fails.
//   P3  Take gives blocks without content first, then the content that was let go first.
#ifndef QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
#define QUIRE_COORDINATOR_KV_BLOCK_POOL_H_

#include <cstdint>
#include <vector>

namespace quire::kv {

class BlockPool {
 public:
  explicit BlockPool(int64_t num_blocks);

  int64_t num_total() const { return static_cast<int64_t>(refs_.size()); }
  int64_t num_free() const { return num_free_; }
  int64_t num_used() const { return num_total() - num_free_; }
  int32_t refs(int32_t block) const;

  // Takes the free block that is evicted first, with one reference. Requires: num_free() > 0 (no capacity is found out
  // before, by num_free()).
  int32_t Take();
  // Adds a reference; revives a free block.
  void Ref(int32_t block);
  // Drops one reference; the last one frees the block: to the end of the eviction order if its content is worth
  // keeping, else to the front.
  void Unref(int32_t block, bool keep_content);
  // A free block has lost its content: it is evicted first. No effect on a used block.
  void Forget(int32_t block);

 private:
  // The free list is doubly linked through these, with num_total() as its head.
  struct Link {
    int32_t next = 0;
    int32_t previous = 0;
  };
  void Unlink(int32_t block);
  void LinkAfter(int32_t place, int32_t block);

  std::vector<int32_t> refs_;
  std::vector<Link> links_;
  int64_t num_free_ = 0;
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_BLOCK_POOL_H_
