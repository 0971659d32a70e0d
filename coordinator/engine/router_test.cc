// Where requests go: affinity, load, the balance between them, and the table's bound.
#include "coordinator/engine/router.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace quire::engine {
namespace {

constexpr int64_t kSlots = 10000;

std::vector<int32_t> Prompt(int64_t length, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 1000);
  return ids;
}

std::vector<RoutedReplica> Loads(std::vector<int64_t> tokens) {
  std::vector<RoutedReplica> replicas;
  for (const int64_t t : tokens) replicas.push_back({true, t, kSlots});
  return replicas;
}

TEST(Router, AChainGrowsWithItsPrompt) {
  Router router(2, 1);
  const std::vector<int32_t> prompt = Prompt(16 * 13, 1);
  const Router::Chain chain = router.MakeChain("", prompt);
  std::vector<int64_t> blocks;
  for (const Router::Link& link : chain) blocks.push_back(link.tokens / 16);
  EXPECT_EQ(blocks, (std::vector<int64_t>{1, 2, 3, 4, 6, 8, 12}));
  const Router::Chain shorter = router.MakeChain("", absl::MakeConstSpan(prompt).subspan(0, 16 * 8 + 5));
  ASSERT_EQ(shorter.size(), 6u);
  for (size_t i = 0; i < shorter.size(); ++i) EXPECT_EQ(shorter[i].hash, chain[i].hash);
  EXPECT_NE(router.MakeChain("other", prompt)[0].hash, chain[0].hash) << "tenants share nothing";
  EXPECT_TRUE(router.MakeChain("", absl::MakeConstSpan(prompt).subspan(0, 15)).empty());
}

TEST(Router, AConversationStaysAndStrangersSpread) {
  Router router(3, 1);
  std::array<int, 3> count{};
  for (uint32_t c = 0; c < 30; ++c) {
    const std::vector<int32_t> whole = Prompt(600, c);
    int home = -1;
    for (size_t length = 100; length <= 600; length += 100) {
      const Router::Chain chain = router.MakeChain("", absl::MakeConstSpan(whole).subspan(0, length));
      const int replica = router.Route(chain, 150, Loads({0, 0, 0}));
      if (home < 0) home = replica;
      EXPECT_EQ(replica, home) << "conversation " << c << " at " << length;
    }
    ++count[static_cast<size_t>(home)];
  }
  EXPECT_EQ(count, (std::array<int, 3>{10, 10, 10}));
}

TEST(Router, OnlyCandidatesAreChosen) {
  Router router(2, 1);
  const Router::Chain chain = router.MakeChain("", Prompt(100, 1));
  std::vector<RoutedReplica> replicas = Loads({0, 5000});
  EXPECT_EQ(router.Route(chain, 10, replicas), 0);
  replicas[0].candidate = false;
  EXPECT_EQ(router.Route(chain, 10, replicas), 1);
  replicas[1].candidate = false;
  EXPECT_EQ(router.Route(chain, 10, replicas), -1);
}

TEST(Router, AffinityDoesNotOverload) {
  Router router(2, 1);
  const Router::Chain chain = router.MakeChain("", Prompt(400, 1));
  ASSERT_EQ(router.Route(chain, 500, Loads({0, 100})), 0);
  EXPECT_EQ(router.Matched(chain, 0), 384);
  EXPECT_EQ(router.Route(chain, 500, Loads({2000, 1500})), 0) << "busier, but within the margin";
  EXPECT_EQ(router.Route(chain, 500, Loads({6000, 1000})), 1);
  EXPECT_EQ(router.Route(chain, 500, Loads({1000, 900})), 1) << "now both have it: the less loaded";
  // Everybody shares this prefix: no replica may get much more than its share.
  std::vector<RoutedReplica> replicas = Loads({0, 0});
  for (int i = 0; i < 100; ++i) replicas[static_cast<size_t>(router.Route(chain, 50, replicas))].load_tokens += 50;
  EXPECT_EQ(replicas[0].load_tokens, replicas[1].load_tokens);
}

TEST(Router, LoadIsMeasuredByTheRoomThatAReplicaHas) {
  Router router(2, 1);
  std::vector<RoutedReplica> replicas = {{true, 1000, 2000}, {true, 1500, 6000}};
  EXPECT_EQ(router.Route({}, 10, replicas), 1);
}

TEST(Router, ALostCacheIsForgottenAndTheTableIsBounded) {
  Router router(2, 1);
  const Router::Chain first = router.MakeChain("", Prompt(400, 1));
  ASSERT_EQ(router.Route(first, 10, Loads({0, 0})), 0);
  router.Forget(0);
  EXPECT_EQ(router.Matched(first, 0), 0);
  ASSERT_EQ(router.Route(first, 10, Loads({0, 100})), 0);
  for (uint32_t i = 0; router.size() < Router::kMaxEntries; ++i) {
    router.Route(router.MakeChain("", Prompt(400, 100 + i)), 10, Loads({100, 0}));
  }
  for (uint32_t i = 0; i < 100; ++i) router.Route(router.MakeChain("", Prompt(400, 1u << 20 | i)), 10, Loads({0, 0}));
  EXPECT_EQ(router.size(), Router::kMaxEntries);
  EXPECT_EQ(router.Matched(first, 0), 0) << "the least recently used goes first";
}

}  // namespace
}  // namespace quire::engine
