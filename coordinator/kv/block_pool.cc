// Reference counts and free list. See block_pool.h.
#include "coordinator/kv/block_pool.h"

#include <glog/logging.h>

namespace quire::kv {

BlockPool::BlockPool(int64_t num_blocks) : refs_(num_blocks, 0), links_(num_blocks + 2), num_free_(num_blocks) {
  links_[head()] = {mark(), mark()};
  links_[mark()] = {head(), head()};
  for (int32_t block = head(); block-- > 0;) LinkAfter(head(), block);
}

int32_t BlockPool::refs(int32_t block) const {
  CHECK(block >= 0 && block < num_total()) << "block " << block << " of " << num_total();
  return refs_[block];
}

void BlockPool::Unlink(int32_t block) {
  links_[links_[block].previous].next = links_[block].next;
  links_[links_[block].next].previous = links_[block].previous;
  num_held_free_ -= links_[block].held;
  links_[block].held = false;
}

void BlockPool::LinkAfter(int32_t place, int32_t block) {
  links_[block].next = links_[place].next;
  links_[block].previous = place;
  links_[links_[place].next].previous = block;
  links_[place].next = block;
}

void BlockPool::Free(int32_t block, Content content) {
  switch (content) {
    case Content::kNone:
      return LinkAfter(head(), block);
    case Content::kCached:
      return LinkAfter(links_[mark()].previous, block);
    case Content::kHeld:
      LinkAfter(links_[head()].previous, block);
      links_[block].held = true;
      ++num_held_free_;
  }
}

int32_t BlockPool::Take() {
  CHECK_GT(num_free_, 0) << "no free block of " << num_total();
  int32_t block = links_[head()].next;
  if (block == mark()) block = links_[block].next;
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

void BlockPool::Unref(int32_t block, Content content) {
  CHECK_GT(refs(block), 0) << "block " << block << " is free";
  if (--refs_[block] > 0) return;
  Free(block, content);
  ++num_free_;
}

void BlockPool::SetHeld(int32_t block, bool held) {
  if (refs(block) > 0 || links_[block].held == held) return;
  Unlink(block);
  Free(block, held ? Content::kHeld : Content::kCached);
}

}  // namespace quire::kv
