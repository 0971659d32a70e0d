#include "tools/batch/retry_policy.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace quire::batch {
namespace {

constexpr absl::Duration kNone = absl::Seconds(-1);

TEST(RetryPolicy, Verdicts) {
  const struct {
    int status;
    Verdict verdict;
  } cases[] = {{200, Verdict::kAnswered}, {400, Verdict::kAnswered}, {401, Verdict::kAnswered},
               {404, Verdict::kAnswered}, {408, Verdict::kFailed},   {413, Verdict::kAnswered},
               {429, Verdict::kBusy},     {500, Verdict::kFailed},   {501, Verdict::kAnswered},
               {502, Verdict::kFailed},   {503, Verdict::kBusy},     {504, Verdict::kFailed}};
  for (const auto& c : cases) EXPECT_EQ(Judge(HttpReply{c.status, "", kNone, ""}), c.verdict) << c.status;
  EXPECT_EQ(Judge(absl::UnavailableError("")), Verdict::kAway);
  EXPECT_EQ(Judge(absl::DeadlineExceededError("")), Verdict::kNoAnswer);
  EXPECT_EQ(Judge(absl::ResourceExhaustedError("")), Verdict::kNoAnswer);
  EXPECT_EQ(Judge(absl::CancelledError("")), Verdict::kCancelled);
}

TEST(RetryPolicy, NeverSoonerThanTheServerAsks) {
  RetryPolicy retry(absl::Hours(1));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(retry.WaitAfter(Verdict::kBusy, absl::Seconds(7), 0), absl::Seconds(7));
    EXPECT_EQ(retry.WaitAfter(Verdict::kBusy, absl::Seconds(8), 0.5), absl::Seconds(9));
  }
}

TEST(RetryPolicy, BoundedInTime) {
  RetryPolicy retry(absl::Minutes(10));
  absl::Duration sum;
  int attempts = 0;
  while (const auto wait = retry.WaitAfter(Verdict::kAway, kNone, 0.999)) {
    EXPECT_GT(*wait, absl::ZeroDuration());
    EXPECT_LE(*wait, absl::Seconds(75));
    sum += *wait;
    ASSERT_LT(++attempts, 1000);
  }
  EXPECT_LE(sum, absl::Minutes(10));
  EXPECT_GT(sum, absl::Minutes(8));
  EXPECT_FALSE(RetryPolicy(absl::ZeroDuration()).WaitAfter(Verdict::kBusy, absl::Seconds(1), 0).has_value());
}

TEST(RetryPolicy, BoundedInNumber) {
  RetryPolicy retry(absl::Hours(1));
  int attempts = 0;
  while (retry.WaitAfter(Verdict::kBusy, absl::ZeroDuration(), 0)) ASSERT_LT(++attempts, 2000);
}

TEST(RetryPolicy, FailuresAreTriedThreeTimes) {
  RetryPolicy retry(absl::Hours(1));
  EXPECT_TRUE(retry.WaitAfter(Verdict::kFailed, kNone, 0).has_value());
  EXPECT_TRUE(retry.WaitAfter(Verdict::kBusy, kNone, 0).has_value());
  EXPECT_TRUE(retry.WaitAfter(Verdict::kFailed, kNone, 0).has_value());
  EXPECT_FALSE(retry.WaitAfter(Verdict::kFailed, kNone, 0).has_value());
}

}  // namespace
}  // namespace quire::batch
