// Block tables of sequences. See kv_manager.h.
#include "coordinator/kv/kv_manager.h"

#include <glog/logging.h>

#include <algorithm>

namespace quire::kv {

using request::Sequence;

bool KvManager::WritesSharedBlock(const Sequence& sequence) const {
  // Only the last block can be partial, and only a fork shares it.
  return sequence.num_computed % block_size_ != 0 && pool_.refs(sequence.blocks.back()) > 1;
}

int64_t KvManager::BlocksForOneMore(const std::vector<Sequence*>& sequences) const {
  int64_t needed = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = *sequences[i];
    if (s.num_computed % block_size_ == 0) {
      ++needed;
      continue;
    }
    const int32_t last = s.blocks.back();
    if (pool_.refs(last) == 1) continue;
    // Sharers are siblings. The last of them to write finds itself alone and needs no copy.
    int32_t writers_before = 0;
    for (size_t j = 0; j < i; ++j) {
      const Sequence& t = *sequences[j];
      writers_before += t.num_computed % block_size_ != 0 && t.blocks.back() == last;
    }
    if (pool_.refs(last) - writers_before > 1) ++needed;
  }
  return needed;
}

int64_t KvManager::TokensThatFit(const Sequence& sequence, int64_t free) const {
  const int64_t capacity = (static_cast<int64_t>(sequence.blocks.size()) + free) * block_size_;
  return std::max<int64_t>(0, capacity - sequence.num_computed);
}

void KvManager::Grow(Sequence* sequence, int64_t num_tokens, StepPlan* plan, NewSequence* fresh) {
  CHECK_GT(num_tokens, 0);
  if (WritesSharedBlock(*sequence)) {
    const int32_t shared = sequence->blocks.back();
    const int32_t own = pool_.Take();
    pool_.Unref(shared);
    sequence->blocks.back() = own;
    plan->block_copies.emplace_back(shared, own);
    plan->block_replaces.push_back(
        {static_cast<uint32_t>(sequence->seq), static_cast<uint32_t>(sequence->blocks.size() - 1), own});
  }
  const int64_t blocks = BlocksFor(sequence->num_computed + num_tokens);
  while (static_cast<int64_t>(sequence->blocks.size()) < blocks) {
    const int32_t block = pool_.Take();
    sequence->blocks.push_back(block);
    if (fresh != nullptr) {
      fresh->block_ids.push_back(block);
    } else {
      plan->block_appends.push_back({static_cast<uint32_t>(sequence->seq), block});
    }
  }
  sequence->num_computed += num_tokens;
}

void KvManager::Fork(const Sequence& parent, Sequence* child) {
  CHECK(child->blocks.empty()) << "the child of a fork holds " << child->blocks.size() << " blocks";
  child->blocks = parent.blocks;
  child->num_computed = parent.num_computed;
  for (int32_t block : child->blocks) pool_.Ref(block);
}

void KvManager::Release(Sequence* sequence) {
  for (int32_t block : sequence->blocks) pool_.Unref(block);
  sequence->blocks.clear();
  sequence->num_computed = 0;
}

}  // namespace quire::kv
