// When losses are held against a request.
#include "coordinator/request/crash_record.h"

#include <gtest/gtest.h>

namespace quire::request {
namespace {

constexpr int64_t kProgress = CrashRecord::kProgress;

TEST(CrashRecord, TwoLossesWithoutProgressIsolate) {
  CrashRecord record;
  EXPECT_FALSE(record.any());
  record.Note(10);
  EXPECT_TRUE(record.any());
  EXPECT_FALSE(record.RunsAlone(10));
  record.Note(10 + kProgress - 1);
  EXPECT_EQ(record.in_a_row(), 2);
  EXPECT_TRUE(record.RunsAlone(10 + kProgress - 1));
}

TEST(CrashRecord, ProgressClears) {
  CrashRecord record;
  record.Note(0);
  record.Note(kProgress);
  EXPECT_EQ(record.in_a_row(), 1);
  record.Note(kProgress);
  EXPECT_TRUE(record.RunsAlone(2 * kProgress - 1));
  EXPECT_FALSE(record.RunsAlone(2 * kProgress));
  record.Note(2 * kProgress - 1);
  EXPECT_EQ(record.in_a_row(), 3);
}

}  // namespace
}  // namespace quire::request
