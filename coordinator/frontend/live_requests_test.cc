#include "coordinator/frontend/live_requests.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "coordinator/engine/admission.h"

namespace quire::frontend {
namespace {

TEST(LiveRequestsTest, CountsPlacesByTenant) {
  const auto live = std::make_shared<LiveRequests>();
  auto first = live->Take("a", 2);
  auto second = live->Take("a", 2);
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::Status refused = live->Take("a", 2).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(refused.GetPayload(engine::kRetryAfterPayload).has_value());
  EXPECT_EQ(live->Check("a", 2).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(live->Take("b", 1).ok()) << "another tenant has places of its own, and this one is free again";
  EXPECT_TRUE(live->Check("b", 1).ok());
  EXPECT_EQ(live->num_live(), 2);
  first->reset();
  EXPECT_TRUE(live->Take("a", 2).ok());
  second->reset();
  EXPECT_EQ(live->num_live(), 0);
}

TEST(LiveRequestsTest, ZeroIsNoLimitButCounts) {
  const auto live = std::make_shared<LiveRequests>();
  std::vector<std::unique_ptr<LiveRequests::Place>> places;
  for (int i = 0; i < 100; ++i) places.push_back(*live->Take("", 0));
  EXPECT_EQ(live->num_live(), 100);
  EXPECT_FALSE(live->Check("", 100).ok());
}

TEST(LiveRequestsTest, TogetherNoMoreGetInThanMay) {
  const auto live = std::make_shared<LiveRequests>();
  std::atomic<int> inside{0}, most{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        auto place = live->Take("a", 2);
        if (!place.ok()) {
          ++refused;
          continue;
        }
        const int now = ++inside;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --inside;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 2);
  EXPECT_LT(refused, 8000);
  EXPECT_EQ(live->num_live(), 0);
}

}  // namespace
}  // namespace quire::frontend
