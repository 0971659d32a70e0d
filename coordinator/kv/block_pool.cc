// Reference counts and free list. See block_pool.h.
#include "coordinator/kv/block_pool.h"

#include <glog/logging.h>

namespace quire::kv {

BlockPool::BlockPool(int64_t num_blocks) : refs_(num_blocks, 0) {
  free_.reserve(num_blocks);
  for (int64_t i = num_blocks - 1; i >= 0; --i) free_.push_back(static_cast<int32_t>(i));
}

int32_t BlockPool::refs(int32_t block) const {
  CHECK(block >= 0 && block < num_total()) << "block " << block << " of " << num_total();
  return refs_[block];
}

int32_t BlockPool::Take() {
  CHECK(!free_.empty()) << "no free block of " << num_total();
  const int32_t block = free_.back();
  free_.pop_back();
  CHECK_EQ(refs_[block], 0) << "free block " << block << " is referenced";
  refs_[block] = 1;
  return block;
}

void BlockPool::Ref(int32_t block) {
  CHECK_GT(refs(block), 0) << "block " << block << " is free";
  ++refs_[block];
}

void BlockPool::Unref(int32_t block) {
  CHECK_GT(refs(block), 0) << "block " << block << " is free";
  if (--refs_[block] == 0) free_.push_back(block);
}

}  // namespace quire::kv
