// Reference counts and free list. See block_pool.h.
#include "coordinator/kv/block_pool.h"

#include <glog/logging.h>

namespace quire::kv {

BlockPool::BlockPool(int64_t num_blocks) : refs_(num_blocks, 0), links_(num_blocks + 1), num_free_(num_blocks) {
  const int32_t n = static_cast<int32_t>(num_blocks);
  for (int32_t i = 0; i <= n; ++i) {
    links_[i].next = i == n ? 0 : i + 1;
    links_[i].previous = i == 0 ? n : i - 1;
  }
}

int32_t BlockPool::refs(int32_t block) const {
  CHECK(block >= 0 && block < num_total()) << "block " << block << " of " << num_total();
  return refs_[block];
}

void BlockPool::Unlink(int32_t block) {
  links_[links_[block].previous].next = links_[block].next;
  links_[links_[block].next].previous = links_[block].previous;
}

void BlockPool::LinkAfter(int32_t place, int32_t block) {
  links_[block] = {links_[place].next, place};
  links_[links_[place].next].previous = block;
  links_[place].next = block;
}

int32_t BlockPool::Take() {
  CHECK_GT(num_free_, 0) << "no free block of " << num_total();
  const int32_t block = links_[num_total()].next;
  CHECK_EQ(refs_[block], 0) << "free block " << block << " is referenced";
  Ref(block);
  return block;
}

void BlockPool::Ref(int32_t block) {
  if (refs(block) == 0) {
    Unlink(block);
    --num_free_;
  }
  ++refs_[block];
}

void BlockPool::Unref(int32_t block, bool keep_content) {
  CHECK_GT(refs(block), 0) << "block " << block << " is free";
  if (--refs_[block] > 0) return;
  const int32_t head = static_cast<int32_t>(num_total());
  LinkAfter(keep_content ? links_[head].previous : head, block);
  ++num_free_;
}

void BlockPool::Forget(int32_t block) {
  if (refs(block) > 0) return;
  Unlink(block);
  LinkAfter(static_cast<int32_t>(num_total()), block);
}

}  // namespace quire::kv
