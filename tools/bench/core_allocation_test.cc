// A decode step allocates nothing per token on its steady path, beyond the log of the tokens itself and what comes once a
// block: its place in the tables and its key in the prefix cache.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "coordinator/engine/testing/core_driver.h"
#include "tools/bench/count_allocations.h"

namespace quire::engine {
namespace {

// Allocations of each of `steps` steps.
std::vector<int64_t> CountSteps(const CoreDriverOptions& options, int steps) {
  CoreDriver driver(options);
  std::vector<int64_t> counts;
  int64_t before = 0;
  driver.before_step = [&] { before = NumAllocations(); };
  driver.after_step = [&] { counts.push_back(NumAllocations() - before); };
  for (int i = 0; i < 300; ++i) driver.Answer();  // vectors find their sizes
  counts.clear();
  for (int i = 0; i < steps; ++i) driver.Answer();
  return counts;
}

TEST(CoreAllocation, TheCounterCounts) {
  const int64_t before = NumAllocations();
  std::vector<int64_t> one(10);
  EXPECT_EQ(NumAllocations() - before, 1);
}

TEST(CoreAllocation, OneSequenceAllocatesOnlyAtABlocksEnd) {
  CoreDriverOptions options;
  const std::vector<int64_t> counts = CountSteps(options, 160);
  // Ten blocks begin and ten are published in these steps; the log grows by doubling.
  EXPECT_GE(std::count(counts.begin(), counts.end(), 0), 160 - 2 * 10 - 1);
}

class PerToken : public testing::TestWithParam<CoreDriverOptions> {};

TEST_P(PerToken, NothingBesideBlocksAndTheLog) {
  const CoreDriverOptions options = GetParam();
  constexpr int kSteps = 160;
  int64_t total = 0;
  for (int64_t count : CountSteps(options, kSteps)) total += count;
  // Once a block: its key's entry in the index. A few more for tables, keys and logs that double, and for the index
  // itself when it grows.
  const double blocks = static_cast<double>(options.num_sequences * kSteps) / CoreDriver::kBlockSize;
  EXPECT_LE(static_cast<double>(total), blocks + 4 * static_cast<double>(options.num_sequences) + 8);
}

CoreDriverOptions With(int64_t num_sequences, uint32_t n, bool stop_strings) {
  CoreDriverOptions options;
  options.num_sequences = num_sequences;
  options.n = n;
  options.stop_strings = stop_strings;
  return options;
}

INSTANTIATE_TEST_SUITE_P(Kinds, PerToken,
                         testing::Values(With(1, 1, false), With(64, 1, false), With(64, 8, false), With(64, 1, true)));

}  // namespace
}  // namespace quire::engine
