// Differences applied, blocks counted once, every lie refused with its numbers.
#include "worker/runtime/sequence_table.h"

#include <gtest/gtest.h>

#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

constexpr TableLimits kLimits = {100, 64, 4, 10, 0};  // vocab, longest, block size, blocks, host blocks

v1::NewSequence* AddNew(v1::Step* step, uint32_t seq, int tokens, const std::vector<uint32_t>& blocks) {
  v1::NewSequence* s = step->add_new_sequences();
  s->set_seq(seq);
  for (int t = 0; t < tokens; ++t) s->add_token_ids(t + 1);
  s->set_prompt_len(tokens);
  for (uint32_t b : blocks) s->add_block_ids(b);
  s->set_top_p(1.0f);
  s->set_repetition_penalty(1.0f);
  s->set_num_logprobs(-1);
  return s;
}

TEST(SequenceTableTest, SharedBlocksCountOnce) {
  SequenceTable table(kLimits);
  v1::Step step;
  AddNew(&step, 0, 6, {3, 5});
  AddNew(&step, 1, 8, {3, 7})->set_num_computed(4);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.used_blocks(), 3);
  step.Clear();
  for (uint32_t v : {0, 2, 1}) step.add_forks(v);
  for (uint32_t v : {2, 8}) step.add_block_appends(v);
  for (uint32_t v : {2, 1, 9}) step.add_block_replaces(v);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.Find(2)->block_ids, (std::vector<int32_t>{3, 9, 8}));
  EXPECT_EQ(table.Find(2)->sampling.choice, 1u);
  EXPECT_EQ(table.used_blocks(), 5);
  step.Clear();
  step.add_finished(0);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.used_blocks(), 4);  // 3 is still held by 1 and 2; 5 is free
  EXPECT_EQ(table.Find(0), nullptr);
  step.Clear();
  step.add_finished(1);
  step.add_finished(2);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.used_blocks(), 0);
}

// Blocks of 4, a window of 6: the token at position 10 sees positions 5 to 10.
TEST(SequenceTableTest, BlocksOutOfTheWindowAreLetGo) {
  TableLimits limits = kLimits;
  limits.attention_window = 6;
  SequenceTable table(limits);
  v1::Step step;
  AddNew(&step, 0, 16, {3, 5, 7, 9});
  ASSERT_TRUE(table.Apply(step).ok());
  Sequence* s = table.Find(0);
  const std::vector<std::pair<int32_t, std::vector<int32_t>>> steps = {
      {8, {3, 5, 7, 9}}, {9, {-1, 5, 7, 9}}, {12, {-1, 5, 7, 9}}, {13, {-1, -1, 7, 9}}, {15, {-1, -1, 7, 9}}};
  for (const auto& [computed, blocks] : steps) {
    s->num_computed = computed;
    table.LetGoOfUnseen(s);
    EXPECT_EQ(s->block_ids, blocks) << computed;
  }
  EXPECT_EQ(table.used_blocks(), 2);
  step.Clear();
  for (uint32_t v : {0, 3}) step.add_block_appends(v);  // is free again
  ASSERT_TRUE(table.Apply(step).ok());
  step.Clear();
  step.add_finished(0);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.used_blocks(), 0);
}

TEST(SequenceTableTest, OnlyABlockOutOfTheWindowMayBeMissing) {
  constexpr uint32_t kMissing = 0xffffffff;
  const auto apply = [](int32_t window, uint32_t num_computed, const std::vector<uint32_t>& blocks) {
    TableLimits limits = kLimits;
    limits.attention_window = window;
    SequenceTable table(limits);
    v1::Step step;
    AddNew(&step, 0, 12, blocks)->set_num_computed(num_computed);
    return table.Apply(step);
  };
  EXPECT_TRUE(apply(6, 9, {kMissing, 4, 5}).ok());
  EXPECT_TRUE(apply(1, 8, {kMissing, kMissing, 5}).ok());
  EXPECT_EQ(apply(6, 8, {kMissing, 4, 5}).message(), "sequence 0 has block 4294967295 of 10") << "position 3 is seen";
  EXPECT_FALSE(apply(0, 9, {kMissing, 4, 5}).ok()) << "no window";
  EXPECT_FALSE(apply(6, 9, {3, kMissing, 5}).ok());
}

TEST(SequenceTableTest, FinishedComesBeforeNew) {
  SequenceTable table(kLimits);
  v1::Step step;
  AddNew(&step, 0, 3, {1});
  ASSERT_TRUE(table.Apply(step).ok());
  step.Clear();
  step.add_finished(0);
  AddNew(&step, 0, 5, {1, 2});
  for (uint32_t v : {0, 4}) step.add_block_appends(v);
  ASSERT_TRUE(table.Apply(step).ok());
  EXPECT_EQ(table.Find(0)->num_tokens(), 5);
  EXPECT_EQ(table.Find(0)->block_ids, (std::vector<int32_t>{1, 2, 4}));
}

TEST(SequenceTableTest, PenaltiesAreRebuiltFromCommittedIds) {
  SequenceTable grown(kLimits), resumed(kLimits);
  v1::Step step;
  AddNew(&step, 0, 3, {1})->set_frequency_penalty(0.5f);
  ASSERT_TRUE(grown.Apply(step).ok());
  for (int32_t token : {3, 50, 3, 51}) grown.AppendOutput(grown.Find(0), token);
  for (uint32_t token : {3, 50, 3, 51}) step.mutable_new_sequences(0)->add_token_ids(token);
  ASSERT_TRUE(resumed.Apply(step).ok());
  const Sequence& a = *grown.Find(0);
  const Sequence& b = *resumed.Find(0);
  EXPECT_EQ(a.seen.ids(), b.seen.ids());
  EXPECT_EQ(a.seen.counts(), b.seen.counts());
  EXPECT_EQ(a.num_output(), b.num_output());
}

struct Lie {
  const char* name;
  void (*tell)(v1::Step*);
  const char* expect;  // in the message: ids and numbers
};

const Lie kLies[] = {
    {"finish unknown", [](v1::Step* s) { s->add_finished(3); }, "sequence 3 is unknown"},
    {"finish twice", [](v1::Step* s) { s->add_finished(0), s->add_finished(0); }, "sequence 0 is unknown"},
    {"live already", [](v1::Step* s) { AddNew(s, 0, 2, {}); }, "sequence 0 is live"},
    {"id too large", [](v1::Step* s) { AddNew(s, 1u << 31, 2, {}); }, "65536"},
    {"no tokens", [](v1::Step* s) { AddNew(s, 1, 0, {}); }, "has 0 tokens"},
    {"too long", [](v1::Step* s) { AddNew(s, 1, 65, {}); }, "has 65 tokens, must be 1 to 64"},
    {"token id", [](v1::Step* s) { AddNew(s, 1, 2, {})->add_token_ids(100); }, "token id 100, the vocabulary 100"},
    {"prompt_len 0", [](v1::Step* s) { AddNew(s, 1, 2, {})->set_prompt_len(0); }, "prompt_len 0 of 2"},
    {"prompt_len 3", [](v1::Step* s) { AddNew(s, 1, 2, {})->set_prompt_len(3); }, "prompt_len 3 of 2"},
    {"computed without blocks", [](v1::Step* s) { AddNew(s, 1, 9, {4})->set_num_computed(5); }, "room for 4"},
    {"all computed", [](v1::Step* s) { AddNew(s, 1, 3, {4})->set_num_computed(3); }, "num_computed 3 of 3"},
    {"block out of range", [](v1::Step* s) { AddNew(s, 1, 3, {10}); }, "block 10 of 10"},
    {"block twice",
     [](v1::Step* s) {
       AddNew(s, 1, 9, {4, 5, 4});
     },
     "block 4 twice"},
    {"bad sampling", [](v1::Step* s) { AddNew(s, 1, 3, {4})->set_top_p(2.0f); }, "top_p = 2"},
    {"fork of unknown",
     [](v1::Step* s) {
       for (uint32_t v : {5, 6, 1}) s->add_forks(v);
     },
     "sequence 5"},
    {"fork onto live",
     [](v1::Step* s) {
       for (uint32_t v : {0, 0, 1}) s->add_forks(v);
     },
     "sequence 0 is live"},
    {"forks not triples", [](v1::Step* s) { s->add_forks(0); }, "groups of 3"},
    {"append to unknown",
     [](v1::Step* s) {
       for (uint32_t v : {4, 5}) s->add_block_appends(v);
     },
     "sequence 4"},
    {"append out of range",
     [](v1::Step* s) {
       for (uint32_t v : {0, 10}) s->add_block_appends(v);
     },
     "block 10 of 10"},
    {"append own block",
     [](v1::Step* s) {
       for (uint32_t v : {0, 2}) s->add_block_appends(v);
     },
     "1 holders"},
    {"append twice",
     [](v1::Step* s) {
       for (uint32_t v : {0, 4, 0, 4}) s->add_block_appends(v);
     },
     "block 4, which has 1 holders"},
    {"appends not pairs", [](v1::Step* s) { s->add_block_appends(0); }, "groups of 2"},
    {"replace past the end",
     [](v1::Step* s) {
       for (uint32_t v : {0, 1, 4}) s->add_block_replaces(v);
     },
     "has 1 blocks"},
    {"replace by a held one",
     [](v1::Step* s) {
       for (uint32_t v : {0, 0, 2}) s->add_block_replaces(v);
     },
     "1 holders"},
    {"copy out of range",
     [](v1::Step* s) {
       for (uint32_t v : {2, 10}) s->add_block_copies(v);
     },
     "block 10 of 10"},
    {"copies not pairs", [](v1::Step* s) { s->add_block_copies(0); }, "groups of 2"},
    {"swap without host blocks",
     [](v1::Step* s) {
       for (uint32_t v : {2, 0}) s->add_swap_outs(v);
     },
     "block 0 of 0"},
    {"swap in without host blocks",
     [](v1::Step* s) {
       for (uint32_t v : {0, 2}) s->add_swap_ins(v);
     },
     "block 0 of 0"},
};

TEST(SequenceTableTest, LiesAreRefusedWithTheirNumbers) {
  for (const Lie& lie : kLies) {
    SequenceTable table(kLimits);
    v1::Step step;
    AddNew(&step, 0, 3, {2});
    ASSERT_TRUE(table.Apply(step).ok());
    step.Clear();
    lie.tell(&step);
    const absl::Status status = table.Apply(step);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << lie.name << ": " << status;
    EXPECT_NE(status.message().find(lie.expect), absl::string_view::npos) << lie.name << ": " << status;
  }
}

}  // namespace
}  // namespace quire::worker
