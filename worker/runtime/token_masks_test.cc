// Lists and words become the same masks; every lie is refused with its numbers.
#include "worker/runtime/token_masks.h"

#include <gtest/gtest.h>

#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

constexpr int32_t kVocab = 70;
constexpr TableLimits kLimits = {kVocab, 64, 4, 10, 0};  // longest, block size, blocks, host blocks

// Two sequences that draw, 3 and 1, in this order; 5 computes a part of its prompt and draws nothing.
class TokenMasksTest : public ::testing::Test {
 protected:
  TokenMasksTest() : table_(kLimits), batch_({8, 64, 8}), masks_(kVocab) {
    for (const uint32_t seq : {3u, 1u, 5u}) {
      v1::NewSequence* s = step_.add_new_sequences();
      s->set_seq(seq);
      for (uint32_t t = 1; t <= 4; ++t) s->add_token_ids(t);
      s->set_prompt_len(4);
      s->add_block_ids(seq);
      s->set_top_p(1.0f);
      s->set_repetition_penalty(1.0f);
      s->set_num_logprobs(-1);
      for (const uint32_t v : {seq, seq == 5 ? 2u : 4u, seq == 5 ? 0u : 1u}) step_.add_prefill(v);
    }
    EXPECT_TRUE(table_.Apply(step_).ok());
    EXPECT_TRUE(batch_.Build(step_, false, &table_).ok());
  }

  v1::TokenMask* Add(uint32_t seq) {
    v1::TokenMask* mask = step_.add_masks();
    mask->set_seq(seq);
    return mask;
  }
  std::string Error() { return std::string(masks_.Build(step_, batch_).message()); }

  v1::Step step_;
  SequenceTable table_;
  BatchInput batch_;
  TokenMasks masks_;
};

TEST_F(TokenMasksTest, ListsAndWords) {
  v1::TokenMask* list = Add(1);
  for (const uint32_t id : {0u, 33u, 69u}) list->add_allowed_ids(id);
  v1::TokenMask* words = Add(3);
  for (const uint32_t word : {0u, ~0u, ~0u}) words->add_words(word);
  ASSERT_TRUE(masks_.Build(step_, batch_).ok());
  EXPECT_EQ(masks_.ForDraw(0), (std::vector<uint32_t>{0, ~0u, 63})) << "nothing beyond the vocabulary";
  EXPECT_EQ(masks_.ForDraw(1), (std::vector<uint32_t>{1, 2, 32}));
  step_.clear_masks();
  ASSERT_TRUE(masks_.Build(step_, batch_).ok());
  EXPECT_TRUE(masks_.ForDraw(0).empty()) << "masks are of one step";
}

TEST_F(TokenMasksTest, LiesAreRefused) {
  v1::TokenMask* mask = Add(5);
  mask->add_allowed_ids(3);
  EXPECT_EQ(Error(), "sequence 5 has a mask but draws nothing");
  mask->set_seq(999);
  EXPECT_EQ(Error(), "sequence 999 has a mask but draws nothing");
  mask->set_seq(1);
  mask->set_allowed_ids(0, 70);
  EXPECT_EQ(Error(), "mask of sequence 1: token 70, the vocabulary has 70");
  mask->clear_allowed_ids();
  EXPECT_EQ(Error(), "mask of sequence 1 allows no token");
  mask->add_words(1);
  EXPECT_EQ(Error(), "mask of sequence 1 has 1 words, must be 3");
  mask->add_words(1);
  mask->add_words(0);
  ASSERT_EQ(Error(), "");
  mask->add_allowed_ids(1);
  EXPECT_EQ(Error(), "mask of sequence 1 has both words and allowed_ids");
  mask->clear_allowed_ids();
  *Add(1) = *mask;
  EXPECT_EQ(Error(), "sequence 1 has two masks");
  step_.mutable_masks()->RemoveLast();
  mask->clear_words();
  for (const uint32_t word : {0u, 0u, ~63u}) mask->add_words(word);
  EXPECT_EQ(Error(), "mask of sequence 1 allows no token") << "bits beyond the vocabulary are none";
}

}  // namespace
}  // namespace quire::worker
