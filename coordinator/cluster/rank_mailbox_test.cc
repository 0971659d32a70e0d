// What the group's thread is woken by, and what it never sees (M1 to M3).
#include "coordinator/cluster/rank_mailbox.h"

#include <gtest/gtest.h>

#include <thread>

#include "absl/time/clock.h"

namespace quire::cluster {
namespace {

using Kind = RankNews::Kind;

RankNews Ended(uint64_t epoch, int rank) {
  RankNews news;
  news.kind = Kind::kEnded;
  news.epoch = epoch;
  news.rank = rank;
  return news;
}

TEST(RankMailboxTest, OnlyTheOpenEpochsNewsInOrder) {
  RankMailbox box;
  box.Open(3);
  EXPECT_TRUE(box.Post(Ended(2, 0)));
  EXPECT_TRUE(box.Post(Ended(3, 1)));
  EXPECT_TRUE(box.Post(Ended(3, 2)));
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).rank, 1);
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).rank, 2);
  EXPECT_EQ(box.Next(absl::Now()).kind, Kind::kTimeout);
  box.Post(Ended(3, 3));
  box.Open(4);
  EXPECT_EQ(box.Next(absl::Now()).kind, Kind::kTimeout) << "news of an epoch that is over";
}

TEST(RankMailboxTest, InterruptionStaysUntilOpen) {
  RankMailbox box;
  box.Open(1);
  box.Post(Ended(1, 0));
  box.Interrupt();
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).kind, Kind::kInterrupted);
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).kind, Kind::kInterrupted);
  box.Open(2);
  EXPECT_EQ(box.Next(absl::Now()).kind, Kind::kTimeout);
}

TEST(RankMailboxTest, IsBounded) {
  RankMailbox box;
  box.Open(1);
  for (size_t i = 0; i < RankMailbox::kMaxWaiting; ++i) ASSERT_TRUE(box.Post(Ended(1, 0)));
  EXPECT_FALSE(box.Post(Ended(1, 0)));
}

// A wake-up that is asked for before Next sleeps must not be lost: the step's deadline depends on it.
TEST(RankMailboxTest, WakeUpBeforeSleeping) {
  RankMailbox box;
  box.Open(1);
  box.WakeBy(absl::Now() + absl::Milliseconds(1));
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).kind, Kind::kTimeout);
}

TEST(RankMailboxTest, WakeUpWhileSleeping) {
  RankMailbox box;
  box.Open(1);
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(10));
    box.WakeBy(absl::Now() + absl::Hours(1));
    box.WakeBy(absl::Now() + absl::Milliseconds(1));
  });
  EXPECT_EQ(box.Next(absl::InfiniteFuture()).kind, Kind::kTimeout);
  other.join();
}

}  // namespace
}  // namespace quire::cluster
