// What is accepted, what is dropped and what ends the epoch (K1 to K3), also under a seeded network that repeats,
// delays and shuffles.
#include "coordinator/cluster/step_collector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace quire::cluster {
namespace {

constexpr uint64_t kEpoch = 5;

ExpectedStep Expected(uint64_t step) { return {kEpoch, step, 1000 + step, 2, {}}; }

RankReply Reply(uint32_t rank, uint64_t step) {
  RankReply reply;
  reply.epoch = kEpoch;
  reply.step = step;
  reply.digest = 1000 + step;
  reply.rank = rank;
  if (rank == 0) reply.tokens = {static_cast<int32_t>(step), static_cast<int32_t>(step + 1)};
  reply.usage.device_blocks_used = 10 * rank + static_cast<uint32_t>(step);
  return reply;
}

// Adds a reply that must be no error.
std::optional<StepResult> Add(StepCollector* collector, int rank, RankReply reply) {
  absl::StatusOr<std::optional<StepResult>> result = collector->Add(rank, std::move(reply));
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : std::nullopt;
}

TEST(StepCollectorTest, CompleteWhenEveryRankAnswered) {
  StepCollector collector(2);
  collector.Reset(kEpoch);
  collector.Expect(Expected(1));
  EXPECT_EQ(collector.LateRanks(), (std::vector<int>{0, 1}));
  EXPECT_FALSE(Add(&collector, 1, Reply(1, 1)));
  EXPECT_EQ(collector.LateRanks(), (std::vector<int>{0}));
  const std::optional<StepResult> result = Add(&collector, 0, Reply(0, 1));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->epoch, kEpoch);
  EXPECT_EQ(result->step, 1u);
  EXPECT_EQ(result->tokens, (std::vector<int32_t>{1, 2}));
  ASSERT_EQ(result->ranks.size(), 2u);
  EXPECT_EQ(result->ranks[0].device_blocks_used, 1u);
  EXPECT_EQ(result->ranks[1].device_blocks_used, 11u);
  EXPECT_EQ(collector.oldest_step(), 0u);
  EXPECT_TRUE(collector.LateRanks().empty());
  EXPECT_EQ(collector.dropped(), 0u);
}

TEST(StepCollectorTest, AnAcceptedDraftIsATokenMore) {
  const auto judge = [](std::vector<uint32_t> accepted, size_t num_tokens) {
    StepCollector collector(1);
    collector.Reset(kEpoch);
    collector.Expect({kEpoch, 1, 1001, 3, {4, 2}});
    RankReply reply = Reply(0, 1);
    reply.accepted = std::move(accepted);
    reply.tokens.assign(num_tokens, 7);
    return collector.Add(0, std::move(reply)).status();
  };
  EXPECT_TRUE(judge({0, 0}, 3).ok());
  EXPECT_TRUE(judge({4, 1}, 8).ok());
  EXPECT_FALSE(judge({4, 1}, 7).ok());
  EXPECT_FALSE(judge({4, 3}, 10).ok()) << "more than were drafted";
  EXPECT_FALSE(judge({4}, 7).ok()) << "an item is missing";
}

TEST(StepCollectorTest, TwoStepsInFlightComeOutInOrder) {
  StepCollector collector(2);
  collector.Reset(kEpoch);
  collector.Expect(Expected(1));
  collector.Expect(Expected(2));
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 1)));
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 2)));
  EXPECT_EQ(collector.oldest_step(), 1u);
  EXPECT_EQ(Add(&collector, 1, Reply(1, 1))->step, 1u);
  EXPECT_EQ(Add(&collector, 1, Reply(1, 2))->step, 2u);
}

TEST(StepCollectorTest, StaleRepeatedAndEarlyRepliesAreDropped) {
  StepCollector collector(2);
  collector.Reset(kEpoch);
  collector.Expect(Expected(1));
  RankReply older = Reply(0, 1);
  older.epoch = kEpoch - 1;
  EXPECT_FALSE(Add(&collector, 0, older));
  RankReply newer = Reply(0, 1);
  newer.epoch = kEpoch + 1;
  EXPECT_FALSE(Add(&collector, 0, newer));
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 2)));  // not sent yet
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 0)));
  EXPECT_EQ(collector.dropped(), 4u);
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 1)));
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 1)));  // twice
  EXPECT_EQ(collector.dropped(), 5u);
  EXPECT_TRUE(Add(&collector, 1, Reply(1, 1)));
  EXPECT_FALSE(Add(&collector, 1, Reply(1, 1)));  // after its step is gone
  EXPECT_EQ(collector.dropped(), 6u);
}

TEST(StepCollectorTest, ContradictionIsAnError) {
  const auto error = [](RankReply reply) {
    StepCollector collector(2);
    collector.Reset(kEpoch);
    collector.Expect(Expected(1));
    const absl::Status status = collector.Add(0, std::move(reply)).status();
    EXPECT_EQ(collector.dropped(), 1u);
    return std::string(status.message());
  };
  RankReply digest = Reply(0, 1);
  digest.digest = 0xabc;
  EXPECT_EQ(error(digest),
            "rank 0 answered step 1 of epoch 5 with digest 0000000000000abc, the plan's is 00000000000003e9");
  RankReply tokens = Reply(0, 1);
  tokens.tokens.pop_back();
  EXPECT_EQ(error(tokens), "rank 0 answered step 1 with 1 tokens, the plan samples 2");
  EXPECT_EQ(error(Reply(1, 1)), "rank 0 answered step 1 as rank 1");
}

TEST(StepCollectorTest, ResetForgetsTheOldEpoch) {
  StepCollector collector(1);
  collector.Reset(kEpoch);
  collector.Expect(Expected(1));
  collector.Reset(kEpoch + 1);
  EXPECT_EQ(collector.oldest_step(), 0u);
  ExpectedStep expected = Expected(1);
  expected.epoch = kEpoch + 1;
  collector.Expect(expected);
  EXPECT_FALSE(Add(&collector, 0, Reply(0, 1)));
  EXPECT_EQ(collector.dropped(), 1u);
  RankReply reply = Reply(0, 1);
  reply.epoch = kEpoch + 1;
  EXPECT_TRUE(Add(&collector, 0, reply));
}

// Every rank keeps answering its last steps until they are accepted, over a network that picks any reply at any time,
// repeats replies and brings some of an older epoch: each step must come out once, in order, with rank 0's tokens.
TEST(StepCollectorTest, SeededNetwork) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const int world_size = 1 + static_cast<int>(random() % 4);
    const uint64_t num_steps = 20;
    StepCollector collector(world_size);
    collector.Reset(kEpoch);
    uint64_t sent = 0, done = 0, drops = 0;
    std::vector<std::pair<int, RankReply>> network;
    for (int round = 0; done < num_steps; ++round) {
      ASSERT_LT(round, 100'000) << "seed " << seed;
      if (sent < num_steps && sent - done < 2 && random() % 3 == 0) {
        collector.Expect(Expected(++sent));
        for (int rank = 0; rank < world_size; ++rank) network.emplace_back(rank, Reply(rank, sent));
      }
      if (network.empty()) continue;
      auto [rank, reply] = network[random() % network.size()];
      if (random() % 10 == 0) reply.epoch -= 1 + random() % 3;
      const uint64_t before = collector.dropped();
      const std::optional<StepResult> result = Add(&collector, rank, reply);
      drops += collector.dropped() - before;
      if (!result) continue;
      ASSERT_EQ(result->step, done + 1) << "seed " << seed;
      ASSERT_EQ(result->tokens, Reply(0, result->step).tokens) << "seed " << seed;
      ++done;
    }
    ASSERT_EQ(collector.dropped(), drops);
    ASSERT_GT(drops, 0u) << "seed " << seed << ": the network was too kind";
  }
}

}  // namespace
}  // namespace quire::cluster
