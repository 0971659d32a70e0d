// Gives sequences their blocks. The only code that changes a block table: adopt cached blocks, grow, fork, release;
// writing into a shared block copies it first. Engine thread only.
//
// Invariants (with block_pool.h):
//   K1  A block that a planned token writes has one reference.
//   K2  A table covers exactly the sequence's num_computed tokens, drafts in flight included. Where every layer has an
//       attention window, blocks that no later token can see are given up and leave kNoBlock behind.
//   K3  Nothing is half done: the caller asks first, and Grow with enough free blocks cannot fail.
//   K4  Only full blocks of committed tokens are in the prefix index. Their content may still be on its way: steps run
//       in order, so whatever a later plan reads has been written by then.
//   K5  The prefix that a live request declares as shared is held: of its full blocks, those that nobody uses are
//       evicted after all others. At most half of the blocks are held. Holds never take room from running requests.
#ifndef QUIRE_COORDINATOR_KV_KV_MANAGER_H_
#define QUIRE_COORDINATOR_KV_KV_MANAGER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "coordinator/kv/block_pool.h"
#include "coordinator/kv/prefix_index.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::kv {

struct KvOptions {
  bool enable_prefix_caching = true;
  std::string secret;  // random, of this process; keys the prefix cache
};

class KvManager {
 public:
  // `window`: keys that a token sees at most, its own included; 0 = all.
  KvManager(const KvOptions& options, int64_t num_blocks, int64_t num_host_blocks, int64_t block_size,
            int64_t window = 0)
      : options_(options),
        pool_(num_blocks),
        host_pool_(num_host_blocks),
        index_(num_blocks, block_size, options.secret),
        block_size_(block_size),
        window_(window) {}

  const BlockPool& pool() const { return pool_; }
  const PrefixIndex& index() const { return index_; }
  int64_t block_size() const { return block_size_; }
  int64_t BlocksFor(int64_t num_tokens) const { return (num_tokens + block_size_ - 1) / block_size_; }
  // Blocks that a sequence of `num_tokens` holds at most, if no step computes more than `chunk` of them.
  int64_t MostBlocksFor(int64_t num_tokens, int64_t chunk) const {
    const int64_t all = BlocksFor(num_tokens);
    return window_ == 0 ? all : std::min(all, BlocksFor(window_ + chunk) + 1);
  }

  // Cached blocks that the sequence could start with. At least one token stays to be computed, for its logits, and all
  // whose own log-probs are wanted.
  // Requires: the sequence holds nothing and nothing of it is in flight.
  struct PrefixMatch {
    std::vector<int32_t> blocks;  // kNoBlock: not needed
    int64_t num_unseen = 0;       // these, at the front
    int64_t num_free = 0;         // of them, to be revived from the free list
    int64_t num_held_free = 0;    // of these, held
  };
  PrefixMatch Match(request::Sequence* sequence);

  // Takes the blocks of Match; they count as computed. Requires: nothing happened in between.
  void Adopt(const PrefixMatch& match, request::Sequence* sequence);

  // Makes full blocks of committed tokens known to later requests.
  void Publish(request::Sequence* sequence);

  // From now on the group's shared prefix is held, as far as the bound allows. Requires: it is not.
  void Hold(request::SequenceGroup* group);
  // No longer. No effect if it is not held.
  void Unhold(request::SequenceGroup* group);
  // Full blocks that are held, whether they have been computed or not.
  int64_t num_held() const { return static_cast<int64_t>(holds_.size()); }
  // CHECK-fails unless exactly the holds of these groups are there. Cost: linear in blocks and their prefixes.
  void CheckHolds(const std::vector<const request::SequenceGroup*>& live) const;

  // Free blocks that one more token for every listed sequence takes, copies of shared blocks included. Exact.
  int64_t BlocksForOneMore(const std::vector<request::Sequence*>& sequences) const;

  // Tokens beyond num_computed that fit into the sequence's own room and `free` blocks more.
  int64_t TokensThatFit(const request::Sequence& sequence, int64_t free) const;

  // Makes room for `num_tokens` more computed tokens and counts them as computed. Appends to the plan what the ranks
  // must know: into `fresh` (the table of a sequence that enters with this plan) or as block_appends, block_replaces
  // and block_copies.
  // Requires: enough free blocks.
  void Grow(request::Sequence* sequence, int64_t num_tokens, StepPlan* plan, NewSequence* fresh);

  // Lets go of the blocks that no token behind the computed ones can see; the ranks do the same by themselves, when a
  // step is done. Requires: no draft of the sequence is in flight.
  void LetGoOfUnseen(request::Sequence* sequence);

  // Takes back what was computed beyond `num_computed` tokens (rejected drafts); the ranks do the same by themselves. No
  // effect on a sequence that was released meanwhile.
  void Shrink(request::Sequence* sequence, int64_t num_computed);

  // The child shares all of the parent's blocks, the partial last one too; host blocks if it is swapped out.
  void Fork(const request::Sequence& parent, request::Sequence* child);

  // Release of the child, then Fork: what both share already stays as it is. Returns how many tokens at the front both
  // had in common at least.
  int64_t Refork(const request::Sequence& parent, request::Sequence* child);

  // Device blocks that the group's sequences hold, each counted once: what a swap has to move and to find room for.
  int64_t UniqueBlocks(request::SequenceGroup* group) const;

  // Moves the computed blocks of a group to host memory; its sequences keep what they have computed and hold no device
  // block any more. Requires: UniqueBlocks(group) <= host_pool().num_free().
  void SwapOut(request::SequenceGroup* group, StepPlan* plan);

  // Brings a swapped-out sequence back into the plan's new sequence. Siblings that come back in the same plan share
  // again what they shared. Requires: as many free device blocks as the sequence has host blocks.
  void SwapIn(request::Sequence* sequence, StepPlan* plan);

  // The plan is complete: host blocks that its swap-ins have read may be used again, by the next one.
  void EndPlan();
  // Tells the ranks of host blocks that nobody needs any more.
  void TakeHostFrees(StepPlan* plan) { plan->host_frees.swap(host_frees_); }
  void TakeBackHostFrees(StepPlan* plan) { host_frees_.swap(plan->host_frees); }

  const BlockPool& host_pool() const { return host_pool_; }

  // Gives back all blocks; the sequence has computed nothing.
  void Release(request::Sequence* sequence);

 private:
  // The table has no room for one more token. No division: it is asked of every sequence in every step.
  bool Full(const request::Sequence& sequence) const {
    return static_cast<int64_t>(sequence.blocks.size()) * block_size_ == sequence.num_computed;
  }
  bool WritesSharedBlock(const request::Sequence& sequence) const;
  int32_t TakeBlock();
  // Full blocks at the front that the token at `position` and later ones cannot see.
  int64_t UnseenFrom(int64_t position) const {
    return window_ == 0 ? 0 : std::max<int64_t>(0, position - window_ + 1) / block_size_;
  }
  void Unref(int32_t block);
  bool Held(int32_t block) const { return !holds_.empty() && holds_.count(index_.KeyOf(block)) > 0; }
  void SetHeld(request::SequenceGroup* group, int64_t block, bool held);
  // Extends the sequence's chain keys to its first `blocks` blocks of committed tokens.
  void ExtendKeys(request::Sequence* sequence, int64_t blocks);
  // The committed tokens of block i; valid until the next call.
  absl::Span<const int32_t> BlockTokens(const request::Sequence& sequence, int64_t i);

  void UnrefHost(int32_t block);
  void ReleaseDeviceBlocks(request::Sequence* sequence);

  KvOptions options_;
  BlockPool pool_;
  BlockPool host_pool_;
  PrefixIndex index_;
  std::unordered_map<request::BlockKey, int64_t, request::BlockKeyHash> holds_;  // requests that hold this block
  std::vector<int32_t> tokens_;                                                  // of BlockTokens
  std::vector<int32_t> read_host_blocks_;                                        // by the plan being built
  std::vector<int32_t> host_frees_;                                              // the ranks have not been told of
  std::unordered_map<int32_t, int32_t> swapped_in_;  // host to device block, in the plan being built
  int64_t block_size_;
  int64_t window_;
};

}  // namespace quire::kv

#endif  // QUIRE_COORDINATOR_KV_KV_MANAGER_H_
