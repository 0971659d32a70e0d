#include "coordinator/engine/admission.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"

namespace quire::engine {
namespace {

const QueueSize kLimits = {3, 1000, 1 << 20};

TEST(CheckQueueTest, EachBoundRefusesWithItsFlagAndBothNumbers) {
  EXPECT_TRUE(CheckQueue(kLimits, {2, 900, 500}, {1, 100, 500}, absl::Seconds(2)).ok());
  const absl::Status many = CheckQueue(kLimits, {3, 10, 10}, {1, 1, 1}, absl::Milliseconds(2500));
  ASSERT_TRUE(absl::IsResourceExhausted(many));
  EXPECT_EQ(many.message(),
            "the queue is full: 3 requests wait and this request adds 1, the limit --max_queue_len is 3; try again in "
            "2.5s");
  EXPECT_EQ(std::string(*many.GetPayload(kRetryAfterPayload)), "2500");
  const absl::Status tokens = CheckQueue(kLimits, {2, 901, 10}, {1, 100, 1}, absl::Seconds(1));
  EXPECT_TRUE(absl::StrContains(tokens.message(),
                                "901 prompt tokens wait and this request adds 100, the limit "
                                "--max_queue_tokens is 1000"))
      << tokens;
  const absl::Status bytes = CheckQueue(kLimits, {2, 1, 1 << 20}, {1, 1, 1}, absl::Seconds(1));
  EXPECT_TRUE(absl::StrContains(bytes.message(), "--max_queue_bytes is 1048576")) << bytes;
}

TEST(CheckQueueTest, AnEmptyQueueTakesAnything) {
  EXPECT_TRUE(CheckQueue(kLimits, {0, 0, 0}, {1, 5000, 1 << 21}, absl::Seconds(1)).ok());
}

TEST(RequestBytesTest, GrowsWithWhatTheClientSent) {
  request::Request request;
  const int64_t empty = RequestBytes(request);
  request.prompt_ids.resize(1000);
  EXPECT_EQ(RequestBytes(request), empty + 4000);
  request.params.stop.push_back(std::string(500, 'x'));
  request.params.logit_bias.resize(10);
  EXPECT_GE(RequestBytes(request), empty + 4580);
}

class DrainRateTest : public ::testing::Test {
 protected:
  void Run(double seconds, int64_t tokens_per_second, bool waited = true) {
    for (int i = 0; i < seconds * 100; ++i) {
      now_ += absl::Milliseconds(10);
      rate_.Note(now_, tokens_per_second / 100, waited);
    }
  }
  DrainRate rate_;
  absl::Time now_ = absl::UnixEpoch();
};

TEST_F(DrainRateTest, TimeIsTokensOverTheRate) {
  EXPECT_EQ(rate_.TimeFor(1 << 20), absl::Seconds(1)) << "unknown";
  Run(5, 2000);
  EXPECT_NEAR(absl::ToDoubleSeconds(rate_.TimeFor(10000)), 5, 0.05);
  Run(200, 500);
  EXPECT_NEAR(absl::ToDoubleSeconds(rate_.TimeFor(10000)), 20, 0.5) << "the past fades";
}

TEST_F(DrainRateTest, IdleTimeSaysNothing) {
  Run(5, 2000);
  Run(500, 0, /*waited=*/false);
  EXPECT_NEAR(absl::ToDoubleSeconds(rate_.TimeFor(10000)), 5, 0.05);
}

TEST_F(DrainRateTest, HintsAreBounded) {
  Run(5, 2000);
  EXPECT_EQ(rate_.TimeFor(0), absl::Milliseconds(100));
  EXPECT_EQ(rate_.TimeFor(int64_t{1} << 60), absl::Seconds(60));
  DrainRate stuck;
  stuck.Note(now_, 0, true);
  stuck.Note(now_ + absl::Seconds(5), 0, true);
  EXPECT_EQ(stuck.TimeFor(10), absl::Seconds(5));
  stuck.Note(now_ + absl::Hours(5), 0, true);
  EXPECT_EQ(stuck.TimeFor(10), absl::Seconds(60));
}

}  // namespace
}  // namespace quire::engine
