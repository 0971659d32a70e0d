// Gives sequences their blocks. The only code that changes a block table: grow, fork, release; writing into a shared block copies it
// first. Engine thread only.
//
// Invariants (with block_pool.h):
//   K1  A block that a planned token writes has one reference.
//   K2  A table covers exactly the sequence's num_computed tokens.
//   K3  Nothing is half done: the caller asks BlocksToGrow first, and Grow with enough free blocks cannot fail.
#ifndef QUIRE_COORDINATOR_KV_KV_MANAGER_H_
#define QUIRE_COORDINATOR_KV_KV_MANAGER_H_

#include <cstdint>
#include <vector>

#include "coordinator/kv/block_pool.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::kv {

class KvManager {
 public:
  KvManager(int64_t num_blocks, int64_t block_size) : pool_(num_blocks), block_size_(block_size) {}

  const BlockPool& pool() const { return pool_; }
  int64_t block_size() const { return block_size_; }
  int64_t BlocksFor(int64_t num_tokens) const { return (num_tokens + block_size_ - 1) / block_size_; }

  // Free blocks that one more token for every listed sequence takes, copies of shared blocks included. Exact.
  int64_t BlocksForOneMore(const std::vector<request::Sequence*>& sequences) const;

  // Tokens beyond num_computed that fit into the sequence's own room and `free` blocks more.
  int64_t TokensThatFit(const request::Sequence& sequence, int64_t free) const;

  // Makes room for `num_tokens` more computed tokens and counts them as computed. Appends to the plan what the ranks must know: into `fresh`
  // (the table of a sequence that enters with this plan) or as block_appends, block_replaces and block_copies.
  // Requires: enough free blocks.
  void Grow(request::Sequence* sequence, int64_t num_tokens, StepPlan* plan, NewSequence* fresh);

  // The child shares all of the parent's blocks, the partial last one too.
  void Fork(const request::Sequence& parent, request::Sequence* child);

  // Gives back all blocks; the sequence has computed nothing.
  void Release(request::Sequence* sequence);

 private:
  bool WritesSharedBlock(const request::Sequence& sequence) const;

  BlockPool pool_;
  int64_t block_size_;
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_KV_MANAGER_H_
