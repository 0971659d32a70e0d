// Block tables of sequences. See kv_manager.h.
#include "coordinator/kv/kv_manager.h"

#include <glog/logging.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"

namespace quire::kv {

using request::Sequence;

bool KvManager::WritesSharedBlock(const Sequence& sequence) const {
  // Only the last block can be partial, and only a fork shares it.
  if (Full(sequence) || sequence.group->sequences.size() == 1) return false;
  return pool_.refs(sequence.blocks.back()) > (Planted(Defect::kCopyOnWriteOffByOne) ? 2 : 1);
}

int32_t KvManager::TakeBlock() {
  const int32_t block = pool_.Take();
  Hit(Probe::kCachedBlockEvicted, index_.Contains(block));
  Hit(Probe::kHeldBlockEvicted, Held(block));
  if (!Planted(Defect::kEvictedKeyStays)) index_.Erase(block);
  return block;
}

void KvManager::Unref(int32_t block) {
  const bool cached = index_.Contains(block);
  pool_.Unref(block, !cached ? Content::kNone : Held(block) ? Content::kHeld : Content::kCached);
}

absl::Span<const int32_t> KvManager::BlockTokens(const Sequence& s, int64_t i) {
  const std::vector<int32_t>& prompt = s.group->request.prompt_ids;
  const int64_t begin = i * block_size_, end = begin + block_size_, prompt_len = s.group->prompt_len();
  if (end <= prompt_len) return absl::MakeConstSpan(prompt).subspan(begin, block_size_);
  if (begin >= prompt_len) return absl::MakeConstSpan(s.output).subspan(begin - prompt_len, block_size_);
  tokens_.assign(prompt.begin() + begin, prompt.end());
  tokens_.insert(tokens_.end(), s.output.begin(), s.output.begin() + (end - prompt_len));
  return tokens_;
}

void KvManager::ExtendKeys(Sequence* s, int64_t blocks) {
  while (static_cast<int64_t>(s->keys.size()) < blocks) {
    const BlockKey parent = s->keys.empty() ? index_.Root(s->group->request.tenant) : s->keys.back();
    s->keys.push_back(index_.Next(parent, BlockTokens(*s, static_cast<int64_t>(s->keys.size()))));
  }
}

KvManager::PrefixMatch KvManager::Match(Sequence* s) {
  CHECK(s->blocks.empty() && s->in_flight == 0) << s->group->request.request_id;
  PrefixMatch match;
  if (!options_.enable_prefix_caching) return match;
  const int64_t most = (s->num_skippable() + Planted(Defect::kWholePromptAdopted)) / block_size_;
  ExtendKeys(s, most);
  int64_t first = 0, matched = 0;  // of the blocks in a row that end with the last one; the longest prefix that will do
  for (int64_t i = 0; i < most; ++i) {
    match.blocks.push_back(index_.Find(s->keys[i], BlockTokens(*s, i)));
    if (match.blocks.back() < 0 && window_ == 0) break;
    if (match.blocks.back() < 0) first = i + 1;
    if (first <= UnseenFrom((i + 1) * block_size_)) matched = i + 1;
  }
  match.blocks.resize(matched);
  match.num_unseen = UnseenFrom(matched * block_size_);
  std::fill_n(match.blocks.begin(), match.num_unseen, kNoBlock);
  for (int64_t i = match.num_unseen; i < matched; ++i) {
    const int32_t block = match.blocks[i];
    match.num_free += pool_.refs(block) == 0;
    match.num_held_free += pool_.refs(block) == 0 && Held(block);
  }
  Hit(Probe::kPrefixWithoutItsFront, match.num_unseen > 0);
  return match;
}

void KvManager::Adopt(const PrefixMatch& match, Sequence* s) {
  Hit(Probe::kFreeBlockRevived, match.num_free > 0);
  Hit(Probe::kHeldBlockRevived, match.num_held_free > 0);
  Hit(Probe::kLiveBlockShared, match.num_free < static_cast<int64_t>(match.blocks.size()));
  for (size_t i = match.num_unseen; i < match.blocks.size(); ++i) pool_.Ref(match.blocks[i]);
  s->blocks = match.blocks;
  s->num_unseen = match.num_unseen;
  s->num_computed = static_cast<int64_t>(match.blocks.size()) * block_size_;
  s->num_published = static_cast<int64_t>(match.blocks.size());
}

void KvManager::Publish(Sequence* s) {
  // A swapped-out sequence learns its last token while it holds no device block.
  if (!options_.enable_prefix_caching || s->blocks.empty()) return;
  const int64_t committed = s->group->prompt_len() + static_cast<int64_t>(s->output.size());
  const int64_t settled = std::min(s->num_computed, committed);
  if (settled < (s->num_published + 1) * block_size_) return;
  const int64_t full = settled / block_size_;
  ExtendKeys(s, full);
  s->num_published = std::max(s->num_published, s->num_unseen);
  for (; s->num_published < full; ++s->num_published) {
    index_.Insert(s->keys[s->num_published], BlockTokens(*s, s->num_published), s->blocks[s->num_published]);
  }
}

// Where the block is free, its place in the order of eviction changes with the first hold and after the last.
void KvManager::SetHeld(request::SequenceGroup* group, int64_t i, bool held) {
  const Sequence& s = group->sequences[0];
  const int32_t block = index_.Find(s.keys[i], BlockTokens(s, i));
  if (block >= 0) pool_.SetHeld(block, held);
}

void KvManager::Hold(request::SequenceGroup* group) {
  CHECK_EQ(group->num_held_blocks, 0) << group->request.request_id << " holds its prefix";
  const int64_t wanted = group->request.shared_prefix_tokens / block_size_;
  if (wanted == 0 || !options_.enable_prefix_caching) return;
  Sequence* s = &group->sequences[0];
  ExtendKeys(s, wanted);
  for (int64_t& held = group->num_held_blocks; held < wanted; ++held) {
    const bool known = holds_.count(s->keys[held]) > 0;
    Hit(Probe::kHoldsAtBound, !known && num_held() >= pool_.num_total() / 2);
    if (!known && num_held() >= pool_.num_total() / 2) return;
    if (++holds_[s->keys[held]] == 1) SetHeld(group, held, true);
  }
}

void KvManager::Unhold(request::SequenceGroup* group) {
  ExtendKeys(&group->sequences[0], group->num_held_blocks);  // an empty place of a beam search has lost its keys
  for (int64_t i = group->num_held_blocks; i-- > 0;) {
    const auto it = holds_.find(group->sequences[0].keys[i]);
    CHECK(it != holds_.end()) << group->request.request_id << " holds no block " << i;
    if (--it->second > 0) continue;
    holds_.erase(it);
    SetHeld(group, i, false);
  }
  group->num_held_blocks = 0;
}

void KvManager::CheckHolds(const std::vector<const request::SequenceGroup*>& live) const {
  std::unordered_map<request::BlockKey, int64_t, request::BlockKeyHash> holds;
  for (const request::SequenceGroup* group : live) {
    BlockKey key = index_.Root(group->request.tenant);
    for (int64_t i = 0; i < group->num_held_blocks; ++i) {
      key = index_.Next(key, absl::MakeConstSpan(group->request.prompt_ids).subspan(i * block_size_, block_size_));
      ++holds[key];
    }
  }
  CHECK(holds == holds_) << holds.size() << " blocks are to be held, " << holds_.size() << " are";
  int64_t num_free = 0;
  for (int32_t block = 0; block < pool_.num_total(); ++block) num_free += pool_.refs(block) == 0 && Held(block);
  CHECK_EQ(pool_.num_held_free(), num_free) << "held blocks stand with others in the order of eviction";
}

int64_t KvManager::BlocksForOneMore(const std::vector<Sequence*>& sequences) const {
  int64_t needed = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = *sequences[i];
    if (Full(s)) {
      ++needed;
      continue;
    }
    if (s.group->sequences.size() == 1) continue;  // nobody to share with
    const int32_t last = s.blocks.back();
    if (pool_.refs(last) == 1 || Planted(Defect::kCopiesNotReserved)) continue;
    // Sharers are siblings. The last of them to write finds itself alone and needs no copy.
    int32_t writers_before = 0;
    for (size_t j = 0; j < i; ++j) {
      const Sequence& t = *sequences[j];
      writers_before += !Full(t) && t.blocks.back() == last;
    }
    Hit(Probe::kLastSharerWritesInPlace, pool_.refs(last) - writers_before == 1);
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
    Hit(Probe::kCopyOnWrite);
    Hit(Probe::kCopyOfBlockOfThree, pool_.refs(shared) >= 3);
    const int32_t own = TakeBlock();
    Unref(shared);
    sequence->blocks.back() = own;
    plan->block_copies.emplace_back(shared, own);
    plan->block_replaces.push_back(
        {static_cast<uint32_t>(sequence->seq), static_cast<uint32_t>(sequence->blocks.size() - 1), own});
  }
  const int64_t num_computed = sequence->num_computed + num_tokens;
  while (static_cast<int64_t>(sequence->blocks.size()) * block_size_ < num_computed) {
    const int32_t block = TakeBlock();
    sequence->blocks.push_back(block);
    if (fresh != nullptr) {
      fresh->block_ids.push_back(block);
    } else {
      plan->block_appends.push_back({static_cast<uint32_t>(sequence->seq), block});
    }
  }
  sequence->num_computed = num_computed;
}

void KvManager::LetGoOfUnseen(Sequence* s) {
  if (window_ == 0) return;
  const int64_t end = std::min(UnseenFrom(s->num_computed + (Planted(Defect::kWindowOneTooShort) ? 1 : 0)),
                               static_cast<int64_t>(s->blocks.size()));
  Hit(Probe::kUnseenBlockLetGo, s->num_unseen < end);
  for (; s->num_unseen < end; ++s->num_unseen) {
    Unref(std::exchange(s->blocks[s->num_unseen], kNoBlock));
  }
}

void KvManager::Shrink(Sequence* s, int64_t num_computed) {
  if (s->num_computed <= num_computed) return;
  s->num_computed = num_computed;
  const size_t keep = static_cast<size_t>(BlocksFor(num_computed));
  CHECK_LE(s->num_published, num_computed / block_size_) << s->group->request.request_id << " published drafts";
  CHECK(s->host_blocks.empty()) << s->group->request.request_id << " was swapped out with drafts in flight";
  for (; s->blocks.size() > keep; s->blocks.pop_back()) pool_.Unref(s->blocks.back(), Content::kNone);
}

void KvManager::Fork(const Sequence& parent, Sequence* child) {
  CHECK(child->blocks.empty() && child->host_blocks.empty())
      << "the child of a fork holds " << child->blocks.size() << " + " << child->host_blocks.size() << " blocks";
  child->blocks = parent.blocks;
  child->host_blocks = parent.host_blocks;
  child->num_computed = parent.num_computed;
  child->keys = parent.keys;
  child->num_published = parent.num_published;
  child->num_unseen = parent.num_unseen;
  for (int32_t block : child->blocks) {
    if (block == kNoBlock) continue;
    if (!Planted(Defect::kForkKeepsNoReference) || block != child->blocks.back()) pool_.Ref(block);
  }
  for (int32_t block : child->host_blocks) {
    if (block != kNoBlock) host_pool_.Ref(block);
  }
}

int64_t KvManager::Refork(const Sequence& parent, Sequence* child) {
  if (!parent.host_blocks.empty() || !child->host_blocks.empty()) {
    Release(child);
    Fork(parent, child);
    return 0;
  }
  const auto shared = static_cast<size_t>(
      std::mismatch(parent.blocks.begin(), parent.blocks.end(), child->blocks.begin(), child->blocks.end()).first -
      parent.blocks.begin());
  for (size_t i = child->blocks.size(); i-- > shared;) {
    if (child->blocks[i] != kNoBlock) Unref(child->blocks[i]);
  }
  child->blocks.resize(shared);
  // A shared block has the same tokens before it, and in it as many as both have computed. Of what both have let go
  // nothing is known.
  const bool known = parent.num_unseen == 0 && child->num_unseen == 0;
  const int64_t common =
      known ? std::min({static_cast<int64_t>(shared) * block_size_, child->num_computed, parent.num_computed}) : 0;
  for (size_t i = shared; i < parent.blocks.size(); ++i) {
    if (parent.blocks[i] != kNoBlock) pool_.Ref(parent.blocks[i]);
    child->blocks.push_back(parent.blocks[i]);
  }
  child->num_unseen = parent.num_unseen;
  child->num_computed = parent.num_computed;
  child->keys = parent.keys;
  child->num_published = parent.num_published;
  return common;
}

int64_t KvManager::UniqueBlocks(request::SequenceGroup* group) const {
  std::unordered_set<int32_t> blocks;
  for (const Sequence& s : group->sequences) blocks.insert(s.blocks.begin(), s.blocks.end());
  blocks.erase(kNoBlock);
  return static_cast<int64_t>(blocks.size());
}

void KvManager::SwapOut(request::SequenceGroup* group, StepPlan* plan) {
  std::unordered_map<int32_t, int32_t> moved;  // device to host
  for (Sequence& s : group->sequences) {
    CHECK(s.host_blocks.empty()) << group->request.request_id << " is swapped out twice";
    Hit(Probe::kSwapWithoutUnseen, s.num_unseen > 0);
    for (int32_t block : s.blocks) {
      if (block == kNoBlock) {
        s.host_blocks.push_back(kNoBlock);
        continue;
      }
      const auto it = moved.find(block);
      if (it != moved.end()) {
        Hit(Probe::kSwapOutSharedBlock);
        host_pool_.Ref(it->second);
        s.host_blocks.push_back(it->second);
        continue;
      }
      const int32_t host = host_pool_.Take();
      moved.emplace(block, host);
      plan->swap_outs.emplace_back(block, host);
      s.host_blocks.push_back(host);
    }
    ReleaseDeviceBlocks(&s);
  }
}

void KvManager::SwapIn(Sequence* s, StepPlan* plan) {
  CHECK(s->blocks.empty()) << s->group->request.request_id;
  for (size_t i = 0; i + Planted(Defect::kSwapInOneBlockShort) < s->host_blocks.size(); ++i) {
    const int32_t host = s->host_blocks[i];
    if (host == kNoBlock) {
      s->blocks.push_back(kNoBlock);
      continue;
    }
    // The block that comes to be written next is brought in for each sibling: a copy-on-write of it would come before
    // the swap-in that fills its source.
    const bool open = i + 1 == s->host_blocks.size() && s->num_computed % block_size_ != 0;
    const auto it = swapped_in_.find(host);
    Hit(Probe::kSwapInOpenBlock, open && host_pool_.refs(host) > 1);
    if (!open && it != swapped_in_.end()) {
      Hit(Probe::kSwapInShared);
      pool_.Ref(it->second);
      s->blocks.push_back(it->second);
    } else {
      const int32_t block = TakeBlock();
      if (!open) swapped_in_.emplace(host, block);
      plan->swap_ins.emplace_back(host, block);
      s->blocks.push_back(block);
    }
    if (Planted(Defect::kHostBlockFreedTooEarly)) plan->host_frees.push_back(host);
    read_host_blocks_.push_back(host);
  }
  s->host_blocks.clear();
}

void KvManager::UnrefHost(int32_t block) {
  host_pool_.Unref(block, Content::kNone);
  if (host_pool_.refs(block) == 0) host_frees_.push_back(block);
}

void KvManager::EndPlan() {
  // Swap-outs come before swap-ins on the ranks: a host block must not be filled anew by the plan that reads it.
  for (int32_t block : read_host_blocks_) UnrefHost(block);
  read_host_blocks_.clear();
  swapped_in_.clear();
}

void KvManager::ReleaseDeviceBlocks(Sequence* sequence) {
  // The tail goes first: a prefix without its tail is worth more than a tail without its prefix.
  for (size_t i = sequence->blocks.size(); i-- > 0;) {
    if (sequence->blocks[i] != kNoBlock) Unref(sequence->blocks[i]);
  }
  sequence->blocks.clear();
  sequence->num_published = 0;
}

void KvManager::Release(Sequence* sequence) {
  ReleaseDeviceBlocks(sequence);
  Hit(Probe::kSwappedOutReleased, !sequence->host_blocks.empty());
  for (int32_t block : sequence->host_blocks) {
    if (block != kNoBlock) UnrefHost(block);
  }
  sequence->host_blocks.clear();
  sequence->num_computed = 0;
  sequence->num_unseen = 0;
}

}  // namespace quire::kv
