// Blocks go out, over and in as whole extents, in the order of the protocol.
#include "worker/runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>

#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

TEST(KvCacheTest, SwapOutThenCopyThenSwapIn) {
  auto backend = *kernels::CreateCpuBackend({1, /*reference=*/true});
  kernels::KvCacheLayout layout;
  layout.num_blocks = 5;
  layout.num_layers = 3;
  layout.num_kv_heads = 2;
  layout.head_dim = 4;
  auto cache = *KvCache::Create(layout, /*num_host_blocks=*/2, backend.get());
  char* base = static_cast<char*>(cache->view().base);
  const int64_t bytes = layout.block_bytes();
  for (int b = 0; b < 5; ++b) std::memset(base + b * bytes, 'a' + b, bytes);
  v1::Step step;
  for (uint32_t v : {1, 0}) step.add_swap_outs(v);           // b to the host
  for (uint32_t v : {2, 1, 3, 2}) step.add_block_copies(v);  // c over b, then d over c
  for (uint32_t v : {0, 4}) step.add_swap_ins(v);            // b back over e
  ASSERT_TRUE(cache->Move(step).ok());
  EXPECT_EQ(cache->used_host_blocks(), 1) << "until the plan frees it";
  const char expected[] = {'a', 'c', 'd', 'd', 'b'};
  for (int b = 0; b < 5; ++b) {
    for (int64_t i = 0; i < bytes; ++i) ASSERT_EQ(base[b * bytes + i], expected[b]) << "block " << b << " byte " << i;
  }
}

TEST(KvCacheTest, HostBlocksCountFromSwapOutToFree) {
  auto backend = *kernels::CreateCpuBackend({1, /*reference=*/true});
  kernels::KvCacheLayout layout;
  layout.num_blocks = 2;
  layout.num_layers = layout.num_kv_heads = layout.head_dim = 1;
  auto cache = *KvCache::Create(layout, /*num_host_blocks=*/3, backend.get());
  v1::Step out;
  for (uint32_t v : {0, 2, 1, 1}) out.add_swap_outs(v);
  ASSERT_TRUE(cache->Move(out).ok());
  EXPECT_EQ(cache->used_host_blocks(), 2);
  v1::Step again;  // freed and filled anew by the same plan
  again.add_host_frees(2);
  for (uint32_t v : {1, 2}) again.add_swap_outs(v);
  ASSERT_TRUE(cache->Move(again).ok());
  EXPECT_EQ(cache->used_host_blocks(), 2);
  v1::Step free;
  free.add_host_frees(2);
  free.add_host_frees(1);
  ASSERT_TRUE(cache->Move(free).ok());
  EXPECT_EQ(cache->used_host_blocks(), 0);
}

}  // namespace
}  // namespace quire::worker
