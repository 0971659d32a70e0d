// Blocks on demand, sharing by fork, copy-on-write, release. K- and P-invariants over random histories.
#include "coordinator/kv/kv_manager.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

namespace quire::kv {
namespace {

using request::Sequence;
using request::SequenceGroup;

struct World {
  World(int64_t blocks, int64_t block_size, int n) : kv({true, "0123456789abcdef"}, blocks, blocks, block_size) {
    group.sequences.resize(n);
    for (int i = 0; i < n; ++i) group.sequences[i].group = &group, group.sequences[i].seq = i;
  }
  Sequence& operator[](int i) { return group.sequences[i]; }
  SequenceGroup group;
  KvManager kv;
};

TEST(KvManager, TakesBlocksOnDemand) {
  World w(10, 4, 1);
  StepPlan plan;
  NewSequence fresh;
  w.kv.Grow(&w[0], 5, &plan, &fresh);
  EXPECT_EQ(fresh.block_ids, (std::vector<int32_t>{0, 1}));
  EXPECT_TRUE(plan.block_appends.empty());
  w.kv.Grow(&w[0], 3, &plan, nullptr);
  EXPECT_TRUE(plan.block_appends.empty());
  w.kv.Grow(&w[0], 1, &plan, nullptr);
  ASSERT_EQ(plan.block_appends.size(), 1u);
  EXPECT_EQ(plan.block_appends[0].block, 2);
  EXPECT_EQ(w.kv.pool().num_used(), 3);
  w.kv.Release(&w[0]);
  EXPECT_EQ(w.kv.pool().num_used(), 0);
  EXPECT_EQ(w[0].num_computed, 0);
}

TEST(KvManager, ForkSharesAndTheLastWriterKeepsTheBlock) {
  World w(10, 4, 3);
  StepPlan plan;
  w.kv.Grow(&w[0], 6, &plan, nullptr);
  w.kv.Fork(w[0], &w[1]);
  w.kv.Fork(w[0], &w[2]);
  EXPECT_EQ(w.kv.pool().num_used(), 2);
  EXPECT_EQ(w.kv.BlocksForOneMore({&w[0], &w[1], &w[2]}), 2);
  plan.Clear();
  for (int i = 0; i < 3; ++i) w.kv.Grow(&w[i], 1, &plan, nullptr);
  EXPECT_EQ(plan.block_copies.size(), 2u);
  EXPECT_EQ(plan.block_replaces.size(), 2u);
  EXPECT_EQ(w.kv.pool().num_used(), 4);
  EXPECT_EQ(w[0].blocks[0], w[2].blocks[0]);
  EXPECT_NE(w[0].blocks[1], w[2].blocks[1]);
  EXPECT_EQ(w[2].blocks[1], 1) << "the last writer was alone and wrote in place";
}

TEST(KvManager, AFullLastBlockIsSharedForGood) {
  World w(10, 4, 2);
  StepPlan plan;
  w.kv.Grow(&w[0], 8, &plan, nullptr);
  w.kv.Fork(w[0], &w[1]);
  EXPECT_EQ(w.kv.BlocksForOneMore({&w[0], &w[1]}), 2);
  plan.Clear();
  w.kv.Grow(&w[0], 1, &plan, nullptr);
  EXPECT_TRUE(plan.block_copies.empty());
}

TEST(KvManager, TokensThatFitCountsTheOpenBlock) {
  World w(10, 4, 1);
  StepPlan plan;
  w.kv.Grow(&w[0], 5, &plan, nullptr);
  EXPECT_EQ(w.kv.TokensThatFit(w[0], 0), 3);
  EXPECT_EQ(w.kv.TokensThatFit(w[0], 2), 11);
}

TEST(KvManagerDeathTest, BrokenReferencesAreBugs) {
  BlockPool pool(2);
  EXPECT_DEATH(pool.Unref(0, Content::kNone), "block 0 is free");
  EXPECT_DEATH(pool.Ref(7), "block 7 of 2");
  pool.Take();
  pool.Take();
  EXPECT_DEATH(pool.Take(), "no free block of 2");
}

TEST(BlockPool, ContentIsEvictedLastAndInTheOrderItWasLetGo) {
  BlockPool pool(4);
  for (int i = 0; i < 4; ++i) pool.Take();
  pool.Unref(2, Content::kCached);
  pool.Unref(0, Content::kCached);
  pool.Unref(3, Content::kNone);
  pool.Ref(2);  // revived
  pool.Unref(2, Content::kCached);
  EXPECT_EQ(pool.num_free(), 3);
  EXPECT_EQ(pool.Take(), 3);
  EXPECT_EQ(pool.Take(), 0);
  EXPECT_EQ(pool.Take(), 2);
}

TEST(BlockPool, HeldContentIsEvictedBehindAllOther) {
  BlockPool pool(4);
  for (int i = 0; i < 4; ++i) pool.Take();
  pool.Unref(0, Content::kHeld);
  pool.Unref(1, Content::kHeld);
  pool.Unref(2, Content::kCached);
  pool.Unref(3, Content::kNone);
  EXPECT_EQ(pool.num_free(), 4);
  EXPECT_EQ(pool.num_held_free(), 2);
  pool.SetHeld(0, false);  // behind 2, which was let go before it became ordinary
  EXPECT_EQ(pool.num_held_free(), 1);
  for (int32_t block : {3, 2, 0, 1}) EXPECT_EQ(pool.Take(), block);
  EXPECT_EQ(pool.num_held_free(), 0);
  pool.SetHeld(1, true);  // used: no effect
  EXPECT_EQ(pool.num_held_free(), 0);
  pool.Unref(2, Content::kCached);
  pool.SetHeld(2, true);
  pool.Ref(2);
  EXPECT_EQ(pool.num_held_free(), 0);
}

struct Holder {
  Holder(int64_t tokens, int64_t shared, int32_t first = 1) {
    group.sequences.resize(1);
    group.sequences[0].group = &group;
    for (int64_t i = 0; i < tokens; ++i) group.request.prompt_ids.push_back(first + static_cast<int32_t>(i));
    group.request.shared_prefix_tokens = shared;
  }
  // Computes the whole prompt, and leaves it in the cache.
  void Compute(KvManager* kv) {
    StepPlan plan;
    Sequence* s = &group.sequences[0];
    kv->Grow(s, group.prompt_len(), &plan, nullptr);
    kv->Publish(s);
    kv->Release(s);
  }
  SequenceGroup group;
};

TEST(KvManager, AHeldPrefixOutlivesWhatWasLetGoLater) {
  for (const int64_t shared : {0, 9}) {
    KvManager kv({true, "0123456789abcdef"}, 10, 0, 4);
    Holder waiting(13, shared), other(17, 0, 100);
    kv.Hold(&waiting.group);
    EXPECT_EQ(kv.num_held(), shared / 4);
    waiting.Compute(&kv);  // by a request that was there before
    EXPECT_EQ(kv.pool().num_held_free(), shared / 4);
    other.Compute(&kv);
    StepPlan plan;
    Holder third(29, 0, 200);
    kv.Grow(&third.group.sequences[0], 29, &plan, nullptr);
    EXPECT_EQ(static_cast<int64_t>(kv.Match(&waiting.group.sequences[0]).blocks.size()), shared / 4);
    kv.CheckHolds({&waiting.group});
    kv.Unhold(&waiting.group);
    EXPECT_EQ(kv.pool().num_held_free(), 0);
    kv.CheckHolds({});
    // Nothing of it is in the way of a request that takes everything.
    kv.Release(&third.group.sequences[0]);
    kv.Grow(&third.group.sequences[0], 40, &plan, nullptr);
    EXPECT_EQ(kv.pool().num_free(), 0);
  }
}

TEST(KvManager, TheLastOfSeveralRequestsLetsGo) {
  KvManager kv({true, "0123456789abcdef"}, 10, 0, 4);
  Holder a(8, 8), b(12, 12), stranger(8, 8);
  stranger.group.request.tenant = "other";
  for (Holder* h : {&a, &b, &stranger}) kv.Hold(&h->group);
  EXPECT_EQ(kv.num_held(), 5) << "two blocks in common, one of b, and two under another tenant's key: half of all";
  a.Compute(&kv);
  kv.Unhold(&a.group);
  EXPECT_EQ(kv.pool().num_held_free(), 2);
  kv.CheckHolds({&b.group, &stranger.group});
  kv.Unhold(&b.group);
  EXPECT_EQ(kv.pool().num_held_free(), 0);
}

TEST(KvManager, HalfOfTheBlocksCanBeHeld) {
  KvManager kv({true, "0123456789abcdef"}, 10, 0, 4);
  Holder longer(37, 37), same(9, 8), late(9, 9, 500);
  kv.Hold(&longer.group);
  kv.Hold(&late.group);
  EXPECT_EQ(kv.num_held(), 5);
  EXPECT_EQ(longer.group.num_held_blocks, 5);
  EXPECT_EQ(late.group.num_held_blocks, 0);
  kv.Hold(&same.group);
  EXPECT_EQ(same.group.num_held_blocks, 2) << "what is held already counts once";
  kv.CheckHolds({&longer.group, &late.group, &same.group});
}

// Blocks of 4, a window of 6: the token at position 10 sees positions 5 to 10.
TEST(KvManager, BlocksOutOfTheWindowAreLetGo) {
  KvManager kv({true, "0123456789abcdef"}, 10, 10, 4, 6);
  Holder h(20, 0);
  Sequence* s = &h.group.sequences[0];
  StepPlan plan;
  kv.Grow(s, 8, &plan, nullptr);
  kv.LetGoOfUnseen(s);
  EXPECT_EQ(s->num_unseen, 0) << "position 3 is seen from 8";
  kv.Grow(s, 1, &plan, nullptr);
  kv.Publish(s);  // as the scheduler does: what is let go of stays in the cache
  kv.LetGoOfUnseen(s);
  EXPECT_EQ(s->num_unseen, 1);
  kv.Grow(s, 9, &plan, nullptr);
  kv.LetGoOfUnseen(s);
  EXPECT_EQ(s->blocks, (std::vector<int32_t>{-1, -1, -1, 3, 4}));
  EXPECT_EQ(kv.pool().num_used(), 2);
  kv.SwapOut(&h.group, &plan);
  EXPECT_EQ(plan.swap_outs.size(), 2u);
  EXPECT_EQ(s->host_blocks[0], kNoBlock);
  plan.Clear();
  kv.SwapIn(s, &plan);
  kv.EndPlan();
  EXPECT_EQ(plan.swap_ins.size(), 2u);
  EXPECT_EQ(s->blocks.size(), 5u);
  EXPECT_EQ(s->num_unseen, 3);
  kv.Release(s);
  EXPECT_EQ(kv.pool().num_used(), 0);
  EXPECT_EQ(kv.MostBlocksFor(1000, 8), 5);
  EXPECT_EQ(kv.MostBlocksFor(9, 8), 3);
}

TEST(KvManager, OfAPrefixOnlyTheWindowIsNeeded) {
  for (const int64_t window : {0, 6}) {
    KvManager kv({true, "0123456789abcdef"}, 6, 0, 4, window);
    Holder first(17, 0), other(5, 0, 900), second(17, 0);
    first.Compute(&kv);  // five blocks, four of them full; let go of from the back
    StepPlan plan;
    Sequence* taker = &other.group.sequences[0];
    kv.Grow(taker, 12, &plan, nullptr);  // the blocks without content, then the fourth
    KvManager::PrefixMatch match = kv.Match(&second.group.sequences[0]);
    EXPECT_EQ(match.blocks.size(), 3u);
    EXPECT_EQ(match.num_unseen, window == 0 ? 0 : 1);
    kv.Adopt(match, &second.group.sequences[0]);
    EXPECT_EQ(second.group.sequences[0].num_computed, 12);
    EXPECT_EQ(kv.pool().num_used(), window == 0 ? 6 : 5);
    kv.Release(&second.group.sequences[0]);
    if (window == 0) continue;
    // Without its first block the prefix still does.
    kv.Grow(taker, 4, &plan, nullptr);
    EXPECT_EQ(kv.Match(&second.group.sequences[0]).blocks.size(), 3u);
    kv.Grow(taker, 8, &plan, nullptr);
    EXPECT_EQ(kv.Match(&second.group.sequences[0]).blocks.size(), 0u);
  }
}

TEST(KvManager, SwapMovesSharedBlocksOnceAndBringsThemBackShared) {
  World w(10, 4, 2);
  StepPlan plan;
  w.kv.Grow(&w[0], 10, &plan, nullptr);
  w.kv.Fork(w[0], &w[1]);
  EXPECT_EQ(w.kv.UniqueBlocks(&w.group), 3);
  plan.Clear();
  w.kv.SwapOut(&w.group, &plan);
  EXPECT_EQ(plan.swap_outs.size(), 3u);
  EXPECT_EQ(w.kv.pool().num_used(), 0);
  EXPECT_EQ(w.kv.host_pool().num_used(), 3);
  EXPECT_EQ(w[0].num_computed, 10) << "nothing has to be computed again";
  plan.Clear();
  w.kv.SwapIn(&w[0], &plan);
  w.kv.SwapIn(&w[1], &plan);
  EXPECT_EQ(plan.swap_ins.size(), 4u) << "two full blocks once, the open one for each";
  EXPECT_EQ(w[0].blocks[1], w[1].blocks[1]);
  EXPECT_NE(w[0].blocks[2], w[1].blocks[2]);
  EXPECT_EQ(w.kv.host_pool().num_used(), 3) << "the plan that reads them must not overwrite them";
  w.kv.EndPlan();
  EXPECT_EQ(w.kv.host_pool().num_used(), 0);
  plan.Clear();
  w.kv.TakeHostFrees(&plan);
  EXPECT_EQ(plan.host_frees.size(), 3u);
}

TEST(KvManager, ReleasingASwappedSequenceFreesItsHostBlocks) {
  World w(10, 4, 1);
  StepPlan plan;
  w.kv.Grow(&w[0], 10, &plan, nullptr);
  w.kv.SwapOut(&w.group, &plan);
  w.kv.Release(&w[0]);
  EXPECT_EQ(w.kv.host_pool().num_used(), 0);
  EXPECT_EQ(w[0].num_computed, 0);
  w.kv.TakeHostFrees(&plan);
  EXPECT_EQ(plan.host_frees.size(), 3u);
}

class PrefixTest : public ::testing::Test {
 protected:
  // A group whose prompt is `ids`.
  std::unique_ptr<World> Make(std::vector<int32_t> ids, std::string tenant = "") {
    auto w = std::make_unique<World>(1, 4, 1);
    w->group.request.prompt_ids = std::move(ids);
    w->group.request.tenant = std::move(tenant);
    return w;
  }
  KvManager kv_{{true, "0123456789abcdef"}, 20, 0, 4};
  StepPlan plan_;
};

TEST_F(PrefixTest, ALaterPromptAdoptsFullBlocksAndComputesTheRest) {
  auto a = Make({1, 2, 3, 4, 5, 6, 7, 8, 9});
  kv_.Grow(&(*a)[0], 9, &plan_, nullptr);
  kv_.Publish(&(*a)[0]);
  EXPECT_EQ(kv_.index().size(), 2);
  auto b = Make({1, 2, 3, 4, 5, 6, 7, 8});
  KvManager::PrefixMatch match = kv_.Match(&(*b)[0]);
  EXPECT_EQ(match.blocks.size(), 1u) << "the last token has to be computed for its logits";
  EXPECT_EQ(match.num_free, 0);
  auto c = Make({1, 2, 3, 4, 5, 6, 7, 8, 10, 11});
  match = kv_.Match(&(*c)[0]);
  kv_.Adopt(match, &(*c)[0]);
  EXPECT_EQ((*c)[0].num_computed, 8);
  EXPECT_EQ(kv_.pool().num_used(), 3);
  EXPECT_TRUE(kv_.Match(&(*Make({1, 2, 3, 5, 5, 6, 7, 8}))[0]).blocks.empty());
}

TEST_F(PrefixTest, TenantsDoNotSeeEachOther) {
  auto a = Make({1, 2, 3, 4, 5}, "red");
  kv_.Grow(&(*a)[0], 5, &plan_, nullptr);
  kv_.Publish(&(*a)[0]);
  EXPECT_EQ(kv_.Match(&(*Make({1, 2, 3, 4, 5}, "red"))[0]).blocks.size(), 1u);
  EXPECT_TRUE(kv_.Match(&(*Make({1, 2, 3, 4, 5}, "blue"))[0]).blocks.empty());
}

TEST_F(PrefixTest, ContentSurvivesReleaseUntilItIsEvictedTailFirst) {
  auto a = Make({1, 2, 3, 4, 5, 6, 7, 8, 9});
  kv_.Grow(&(*a)[0], 9, &plan_, nullptr);
  kv_.Publish(&(*a)[0]);
  kv_.Release(&(*a)[0]);
  EXPECT_EQ(kv_.pool().num_used(), 0);
  EXPECT_EQ(kv_.Match(&(*a)[0]).blocks.size(), 2u);
  EXPECT_EQ(kv_.Match(&(*a)[0]).num_free, 2);
  auto big = Make(std::vector<int32_t>(19 * 4, 7));
  kv_.Grow(&(*big)[0], 19 * 4, &plan_, nullptr);
  EXPECT_EQ(kv_.Match(&(*a)[0]).blocks.size(), 1u) << "the tail went first";
}

TEST_F(PrefixTest, OutputIsSharedOnceItIsCommitted) {
  auto a = Make({1, 2, 3});
  Sequence& s = (*a)[0];
  kv_.Grow(&s, 3, &plan_, nullptr);
  s.in_flight = 2;
  kv_.Grow(&s, 1, &plan_, nullptr);
  kv_.Publish(&s);
  EXPECT_EQ(kv_.index().size(), 0) << "the fourth token is computed and not yet known";
  s.output = {4};
  s.in_flight = 1;
  kv_.Publish(&s);
  EXPECT_EQ(kv_.Match(&(*Make({1, 2, 3, 4, 5}))[0]).blocks.size(), 1u);
}

TEST_F(PrefixTest, OffMeansOff) {
  KvManager off({false, ""}, 20, 0, 4);
  auto a = Make({1, 2, 3, 4, 5});
  off.Grow(&(*a)[0], 5, &plan_, nullptr);
  off.Publish(&(*a)[0]);
  EXPECT_EQ(off.index().size(), 0);
  EXPECT_TRUE(off.Match(&(*Make({1, 2, 3, 4, 5}))[0]).blocks.empty());
}

// BlocksForOneMore is exact, and references equal owners, over random histories of siblings.
TEST(KvManager, RandomHistories) {
  std::mt19937 rng(3);
  for (int round = 0; round < 2000; ++round) {
    const int64_t block_size = 1 + rng() % 5;
    World w(200, block_size, 6);
    StepPlan plan;
    w.kv.Grow(&w[0], 1 + rng() % 12, &plan, nullptr);
    std::vector<Sequence*> live = {&w[0]};
    for (int op = 0; op < 30 && !live.empty(); ++op) {
      const int kind = rng() % 4;
      if (kind == 0 && live.size() < 6) {
        for (int i = 0; i < 6; ++i) {
          if (!w[i].blocks.empty()) continue;
          w.kv.Fork(*live[rng() % live.size()], &w[i]);
          live.push_back(&w[i]);
          break;
        }
      } else if (kind == 1 && live.size() > 1) {
        const size_t i = rng() % live.size();
        if (rng() % 2 == 0) {
          const Sequence& parent = *live[(i + 1) % live.size()];
          w.kv.Refork(parent, live[i]);
          ASSERT_EQ(live[i]->blocks, parent.blocks);
        } else {
          w.kv.Release(live[i]);
          live.erase(live.begin() + i);
        }
      } else {
        const int64_t want = w.kv.BlocksForOneMore(live);
        const int64_t before = w.kv.pool().num_used();
        for (Sequence* s : live) w.kv.Grow(s, 1, &plan, nullptr);
        ASSERT_EQ(w.kv.pool().num_used() - before, want);
      }
      std::map<int32_t, int> owners;
      for (Sequence* s : live) {
        ASSERT_EQ(static_cast<int64_t>(s->blocks.size()), w.kv.BlocksFor(s->num_computed));
        for (int32_t b : s->blocks) ++owners[b];
      }
      ASSERT_EQ(static_cast<int64_t>(owners.size()), w.kv.pool().num_used());
      for (const auto& [b, n] : owners) ASSERT_EQ(w.kv.pool().refs(b), n);
    }
  }
}

}  // namespace
}  // namespace quire::kv
