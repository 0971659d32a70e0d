// What is shown of loading.
#include "coordinator/cluster/load_progress.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quire::cluster {
namespace {

TEST(LoadProgressTest, Bar) {
  EXPECT_EQ(ProgressBar(0, 0), "[..............................]   0 %  0.0 / 0.0 MiB");
  EXPECT_EQ(ProgressBar(1 << 20, 2 << 20), "[###############...............]  50 %  1.0 / 2.0 MiB");
  EXPECT_EQ(ProgressBar(3ull << 30, 2ull << 30), "[##############################] 100 %  2.0 / 2.0 GiB");
}

TEST(LoadProgressTest, AtMostTwiceASecondAndOnceAtTheEnd) {
  testing::internal::CaptureStderr();
  {
    LoadProgress progress(2, /*is_terminal=*/true);
    const absl::Time start = absl::UnixEpoch();
    // A thousand reports in a second and a half, none of the second rank yet.
    for (int i = 1; i <= 1000; ++i) progress.Update(0, i, 1000, start + i * absl::Milliseconds(1.5));
    progress.Update(1, 500, 500, start + absl::Milliseconds(1501));  // all loaded: shown at once
    progress.Update(1, 500, 500, start + absl::Milliseconds(9000));  // nothing new
  }
  const std::string shown = testing::internal::GetCapturedStderr();
  const auto bars = std::count(shown.begin(), shown.end(), '\r');
  EXPECT_GE(bars, 3);
  EXPECT_LE(bars, 5) << shown;
  EXPECT_EQ(shown.back(), '\n');
}

TEST(LoadProgressTest, SomeTenLinesHoweverLongItTakes) {
  testing::internal::CaptureStderr();
  {
    LoadProgress progress(1, /*is_terminal=*/false);
    for (int i = 1; i <= 10000; ++i) progress.Update(0, i, 10000, absl::UnixEpoch() + i * absl::Seconds(3));
  }
  const std::string shown = testing::internal::GetCapturedStderr();
  const auto lines = std::count(shown.begin(), shown.end(), '\n');
  EXPECT_GE(lines, 9) << shown;
  EXPECT_LE(lines, 12) << shown;
  EXPECT_NE(shown.find("100 %"), std::string::npos);
}

}  // namespace
}  // namespace quire::cluster
