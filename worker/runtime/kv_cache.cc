// A block is one extent, so every move is one copy.
#include "worker/runtime/kv_cache.h"

#include <utility>

#include "proto/worker.pb.h"

namespace quire::worker {

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const kernels::KvCacheLayout& layout, int64_t num_host_blocks,
                                                         kernels::Backend* backend) {
  auto buffer = backend->Allocate(layout.num_blocks * layout.block_bytes());
  if (!buffer.ok()) return buffer.status();
  auto host = backend->AllocateHostMemory(num_host_blocks * layout.block_bytes());
  if (!host.ok()) return host.status();
  return std::unique_ptr<KvCache>(new KvCache(backend, *std::move(buffer), *std::move(host), layout, num_host_blocks));
}

KvCache::KvCache(kernels::Backend* backend, std::unique_ptr<kernels::Buffer> buffer,
                 std::unique_ptr<kernels::Buffer> host, const kernels::KvCacheLayout& layout, int64_t num_host_blocks)
    : backend_(backend),
      buffer_(std::move(buffer)),
      host_(std::move(host)),
      view_{buffer_->data(), layout},
      host_used_(num_host_blocks) {}

template <typename Numbers>
absl::Span<const std::pair<int32_t, int32_t>> KvCache::Pairs(const Numbers& flat) {
  pairs_.clear();
  for (int i = 0; i < flat.size(); i += 2) pairs_.emplace_back(flat[i], flat[i + 1]);
  return pairs_;
}

absl::Status KvCache::Move(const v1::Step& step) {
  for (const uint32_t block : step.host_frees()) {
    used_host_blocks_ -= host_used_[block];
    host_used_[block] = false;
  }
  const auto& outs = step.swap_outs();
  for (int i = 0; i < outs.size(); i += 2) {
    used_host_blocks_ += !host_used_[outs[i + 1]];
    host_used_[outs[i + 1]] = true;
  }
  if (!outs.empty()) backend_->SwapOut(Pairs(outs), view_, *host_);
  if (step.block_copies_size() > 0) backend_->CopyBlocks(Pairs(step.block_copies()), view_);
  if (step.swap_ins_size() > 0) backend_->SwapIn(Pairs(step.swap_ins()), view_, *host_);
  // The caller measures how long moves take: the plan's choice between a swap and computing again hangs on it.
  const bool swapped = !outs.empty() || step.swap_ins_size() > 0;
  return swapped ? backend_->Synchronize() : absl::OkStatus();
}

}  // namespace quire::worker
