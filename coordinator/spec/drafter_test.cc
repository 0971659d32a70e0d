// The index against a plain search over random token lists; how the number of drafts follows what was accepted.
#include "coordinator/spec/drafter.h"

#include <gtest/gtest.h>

#include <random>

namespace quire::spec {
namespace {

// N1 by the plainest code: every earlier end, from the latest backwards.
std::vector<int32_t> Naive(const std::vector<int32_t>& tokens, int min, int max, int count) {
  const int last = static_cast<int>(tokens.size()) - 1;
  const auto common = [&](int end) {
    int n = 0;
    while (n <= end && n < max && tokens[end - n] == tokens[last - n]) ++n;
    return n;
  };
  int best = -1, best_length = 0, seen = 0;
  for (int end = last - 1; end >= 0 && seen < NgramIndex::kMaxCandidates; --end) {
    const int length = common(end);
    if (length < min) continue;
    ++seen;
    if (length > best_length) best = end, best_length = length;
  }
  std::vector<int32_t> out;
  if (best < 0) return out;
  std::vector<int32_t> longer = tokens;
  for (int i = 0; i < count; ++i) {
    longer.push_back(longer[best + 1 + i]);
    out.push_back(longer.back());
  }
  return out;
}

TEST(NgramIndexTest, EqualsAPlainSearch) {
  std::mt19937 random(5);
  int proposals = 0;
  for (int round = 0; round < 60; ++round) {
    const int min = 1 + random() % 4, max = min + random() % 4, vocab = 2 + random() % 30;
    NgramIndex index(min, max);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 300; ++i) {
      // Copies of earlier stretches, so that long matches happen.
      const bool copy = !tokens.empty() && random() % 3 != 0;
      tokens.push_back(copy ? tokens[tokens.size() * (round % 7 + 1) / 9] : static_cast<int32_t>(random() % vocab));
      index.Append(tokens.back());
      std::vector<int32_t> got;
      index.Propose(1 + i % 8, &got);
      const std::vector<int32_t> want = Naive(tokens, min, max, 1 + i % 8);
      ASSERT_EQ(got, want) << "round " << round << " after " << tokens.size() << " tokens";
      ASSERT_EQ(index.HasMatch(), !want.empty());
      proposals += !want.empty();
    }
  }
  EXPECT_GT(proposals, 3000);
}

TEST(NgramIndexTest, ALoopGoesOnAsALoop) {
  NgramIndex index(2, 5);
  for (int32_t token : {9, 1, 2, 3, 1, 2, 3, 1, 2}) index.Append(token);
  std::vector<int32_t> out;
  index.Propose(7, &out);
  EXPECT_EQ(out, (std::vector<int32_t>{3, 1, 2, 3, 1, 2, 3}));
}

TEST(DrafterTest, CatchesUpInBoundedParts) {
  Drafter drafter(SpecOptions{});
  const std::vector<int32_t> prompt(20000, 7), output(10, 8);
  EXPECT_FALSE(drafter.CatchUp(prompt, output));
  EXPECT_FALSE(drafter.CatchUp(prompt, output));
  EXPECT_TRUE(drafter.CatchUp(prompt, output));
  EXPECT_EQ(drafter.index.size(), 20010);
}

TEST(DraftRateTest, FollowsWhatWasAccepted) {
  DraftRate rate;
  const int first = rate.Length(kMaxDrafts);
  EXPECT_GT(first, 0);
  for (int i = 0; i < 10; ++i) rate.NoteDrafts(4, 4);
  EXPECT_EQ(rate.Length(kMaxDrafts), kMaxDrafts);
  EXPECT_EQ(rate.Length(3), 3);
  EXPECT_GT(rate.Expected(4), 3.5);
  int tries = 0;
  while (rate.Length(kMaxDrafts) > 0) {
    rate.NoteDrafts(4, 0);
    ASSERT_LT(++tries, 20);
  }
  // Resting, then one careful try.
  for (int i = 0; i < DraftRate::kRest - 1; ++i) rate.NoteUndrafted();
  EXPECT_EQ(rate.Length(kMaxDrafts), 0);
  rate.NoteUndrafted();
  EXPECT_EQ(rate.Length(kMaxDrafts), 1);
  rate.NoteDrafts(1, 0);
  EXPECT_EQ(rate.Length(kMaxDrafts), 0);
}

}  // namespace
}  // namespace quire::spec
