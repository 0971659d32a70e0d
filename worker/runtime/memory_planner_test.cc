// The cache's size in numbers that can be checked by hand.
#include "worker/runtime/memory_planner.h"

#include <gtest/gtest.h>

namespace quire::worker {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

MemoryRequest Request() {
  MemoryRequest r;
  r.free_bytes = 16 * kGiB;
  r.utilization = 0.5;
  r.block_bytes = 1 << 20;
  r.block_size = 16;
  r.max_num_seqs = 256;
  r.max_model_len = 8192;
  r.max_num_batched_tokens = 2048;
  r.vocab_size = 32768;
  return r;
}

TEST(MemoryPlannerTest, ShareOfFreeMemoryLessTheLogits) {
  // 8 GiB less 64 MiB for the process and 2 x 256 x 32768 x 4 = 64 MiB of logits, in blocks of 1 MiB.
  EXPECT_EQ(PlanMemory(Request())->device_blocks, 8192 - 128);
  MemoryRequest r = Request();
  r.ranks_sharing = 2;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 4096 - 128);
}

TEST(MemoryPlannerTest, NeverMoreThanSequencesCanUse) {
  MemoryRequest r = Request();
  r.max_num_seqs = 4;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 4 * 8192 / 16);
}

TEST(MemoryPlannerTest, ExplicitBytesWin) {
  MemoryRequest r = Request();
  r.kv_cache_memory_bytes = 700 << 20;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 700);
  r.kv_cache_memory_bytes = 17 * kGiB;
  EXPECT_TRUE(absl::IsResourceExhausted(PlanMemory(r).status()));
}

TEST(MemoryPlannerTest, SwapSpaceComesOnTopAndHasToFit) {
  MemoryRequest r = Request();
  EXPECT_EQ(PlanMemory(r)->host_blocks, 0);
  r.kv_cache_memory_bytes = 700 << 20;
  r.swap_space_bytes = (10 << 20) + 5;
  EXPECT_EQ(PlanMemory(r)->host_blocks, 10);
  EXPECT_EQ(PlanMemory(r)->device_blocks, 700);
  r.swap_space_bytes = 16 * kGiB;
  const absl::Status status = PlanMemory(r).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_NE(status.message().find("swap_space_bytes"), absl::string_view::npos) << status;
}

// On a device with memory of its own the cache takes nothing of the host, and swap space nothing of the device.
TEST(MemoryPlannerTest, SwapSpaceOfADeviceComesFromTheHost) {
  MemoryRequest r = Request();
  r.host_free_bytes = 3 * kGiB;
  r.ranks_of_host = 2;
  r.swap_space_bytes = kGiB;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 8192 - 128);
  EXPECT_EQ(PlanMemory(r)->host_blocks, 1024);
  r.swap_space_bytes = 2 * kGiB;
  const absl::Status status = PlanMemory(r).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_NE(status.message().find("2147483648 on each of 2 ranks, but 1610612736 bytes"), absl::string_view::npos)
      << status;
  r.swap_space_bytes = 0;
  r.kv_cache_memory_bytes = 17 * kGiB;
  EXPECT_NE(PlanMemory(r).status().message().find("free on this device"), absl::string_view::npos);
}

TEST(MemoryPlannerTest, AWindowBoundsWhatASequenceHolds) {
  MemoryRequest r = Request();
  r.max_num_batched_tokens = 512;
  r.kv_cache_memory_bytes = 100 << 20;
  EXPECT_FALSE(PlanMemory(r).ok()) << "a sequence of 8192 tokens takes 512 blocks";
  r.attention_window = 1024;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 100) << "with a step of 512 tokens the window takes 97";
  r.kv_cache_memory_bytes = 96 << 20;
  EXPECT_FALSE(PlanMemory(r).ok());
  r.attention_window = 1 << 20;
  r.kv_cache_memory_bytes = 512 << 20;
  EXPECT_EQ(PlanMemory(r)->device_blocks, 512) << "never more than all";
}

TEST(MemoryPlannerTest, TooLittleSaysWhatToChange) {
  MemoryRequest r = Request();
  r.kv_cache_memory_bytes = 100 << 20;
  const absl::Status status = PlanMemory(r).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  for (const char* part : {"100 blocks", "8192", "512", "max_model_len", "kv_cache_memory_bytes"}) {
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << part << " in " << status;
  }
  r = Request();
  r.free_bytes = 10 << 20;
  EXPECT_TRUE(absl::IsResourceExhausted(PlanMemory(r).status()));
}

TEST(MemoryPlannerTest, UtilizationIsChecked) {
  MemoryRequest r = Request();
  r.utilization = 1.5;
  EXPECT_TRUE(absl::IsInvalidArgument(PlanMemory(r).status()));
}

TEST(MemoryPlannerTest, MeasuresSomething) {
  const auto bytes = MeasureFreeMemory();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, 1 << 20);
  EXPECT_LT(*bytes, int64_t{1} << 50);
}

}  // namespace
}  // namespace quire::worker
