#include "coordinator/text/bpe_merges.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

namespace quire::text {
namespace {

// A random merge list over `letters` symbols; every result is a new id.
struct RandomMerges {
  std::vector<BpeMerge> merges;
  std::map<std::pair<int32_t, int32_t>, std::pair<size_t, int32_t>> table;  // pair -> (rank, result)

  RandomMerges(int letters, int count, bool cuttable, std::mt19937* rng) {
    std::vector<std::pair<int32_t, int32_t>> edges;  // first and last letter of each id
    for (int32_t i = 0; i < letters; ++i) edges.emplace_back(i, i);
    while (static_cast<int>(merges.size()) < count) {
      const auto left = static_cast<int32_t>((*rng)() % edges.size());
      const auto right = static_cast<int32_t>((*rng)() % edges.size());
      const auto result = static_cast<int32_t>(edges.size());
      if (!table.emplace(std::make_pair(left, right), std::make_pair(merges.size(), result)).second) continue;
      merges.push_back({left, right, result, cuttable ? edges[left].second : -1, cuttable ? edges[right].first : -1});
      edges.emplace_back(edges[left].first, edges[right].second);
    }
  }
};

// The definition, word for word (I1).
std::vector<int32_t> MergeByDefinition(const RandomMerges& merges, std::vector<int32_t> ids) {
  while (true) {
    size_t best = ids.size();
    size_t best_rank = merges.merges.size();
    int32_t result = -1;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto it = merges.table.find({ids[i], ids[i + 1]});
      if (it == merges.table.end() || it->second.first >= best_rank) continue;
      best = i;
      std::tie(best_rank, result) = it->second;
    }
    if (best == ids.size()) return ids;
    ids[best] = result;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeMergesTest, EqualsTheDefinitionAtEveryLength) {
  std::mt19937 rng(7);
  int merged_long = 0;
  for (int round = 0; round < 400; ++round) {
    const int letters = 1 + static_cast<int>(rng() % 12);
    const RandomMerges random(letters, static_cast<int>(rng() % 80), round % 2 == 0, &rng);
    const BpeMerges merges(random.merges);
    // Around the borders between the scan and the heap, and well over them.
    const size_t length = round % 3 == 0 ? rng() % 6 : round % 3 == 1 ? 40 + rng() % 20 : 100 + rng() % 400;
    std::vector<int32_t> ids = {-5, -6};  // what stands before is left alone
    for (size_t i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(rng() % static_cast<uint32_t>(letters)));
    std::vector<int32_t> expected = MergeByDefinition(random, {ids.begin() + 2, ids.end()});
    expected.insert(expected.begin(), {-5, -6});
    merges.MergeAll(2, &ids);
    ASSERT_EQ(ids, expected) << "round " << round;
    merged_long += length > 100 && ids.size() < length;
  }
  EXPECT_GT(merged_long, 50);
}

TEST(BpeMergesTest, OfTwoMergesOfOnePairTheLaterCounts) {
  const BpeMerges merges({{0, 1, 2, 0, 1}, {1, 0, 3, 1, 0}, {0, 1, 4, 0, 1}});
  std::vector<int32_t> ids = {0, 1, 0, 1};
  merges.MergeAll(0, &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 3, 1}));  // "1 0" now comes before "0 1"
}

TEST(BpeMergesTest, AMillionEqualSymbolsAreNotQuadratic) {
  // 20 doublings: with a quadratic algorithm this test would not end.
  std::vector<BpeMerge> doublings;
  for (int32_t i = 0; i < 20; ++i) doublings.push_back({i, i, i + 1, 0, 0});
  std::vector<int32_t> ids(1 << 20, 0);
  BpeMerges(doublings).MergeAll(0, &ids);
  EXPECT_EQ(ids, std::vector<int32_t>{20});
}

}  // namespace
}  // namespace quire::text
