// A block is one extent, so every move is one copy.
#include "worker/runtime/kv_cache.h"

#include <utility>

#include "proto/worker.pb.h"

namespace quire::worker {

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const kernels::KvCacheLayout& layout, int64_t num_host_blocks,
                                                         kernels::Backend* backend) {
  auto buffer = backend->Allocate(layout.num_blocks * layout.block_bytes());
  if (!buffer.ok()) return buffer.status();
  return std::unique_ptr<KvCache>(new KvCache(backend, *std::move(buffer), layout, num_host_blocks));
}

KvCache::KvCache(kernels::Backend* backend, std::unique_ptr<kernels::Buffer> buffer,
                 const kernels::KvCacheLayout& layout, int64_t num_host_blocks)
    : backend_(backend),
      buffer_(std::move(buffer)),
      view_{buffer_->data(), layout},
      host_(new char[num_host_blocks * layout.block_bytes()]),
      host_used_(num_host_blocks) {}

char* KvCache::DeviceBlock(uint32_t block) const {
  return static_cast<char*>(view_.base) + block * view_.layout.block_bytes();
}

char* KvCache::HostBlock(uint32_t block) { return host_.get() + block * view_.layout.block_bytes(); }

absl::Status KvCache::Move(const v1::Step& step) {
  const int64_t bytes = view_.layout.block_bytes();
  for (const uint32_t block : step.host_frees()) {
    used_host_blocks_ -= host_used_[block];
    host_used_[block] = false;
  }
  const auto& outs = step.swap_outs();
  for (int i = 0; i < outs.size(); i += 2) {
    used_host_blocks_ += !host_used_[outs[i + 1]];
    host_used_[outs[i + 1]] = true;
    absl::Status s = backend_->CopyToHost(HostBlock(outs[i + 1]), DeviceBlock(outs[i]), bytes);
    if (!s.ok()) return s;
  }
  if (step.block_copies_size() > 0) {
    copies_.clear();
    for (int i = 0; i < step.block_copies_size(); i += 2) {
      copies_.emplace_back(step.block_copies(i), step.block_copies(i + 1));
    }
    backend_->CopyBlocks(copies_, view_);
  }
  const auto& ins = step.swap_ins();
  for (int i = 0; i < ins.size(); i += 2) {
    absl::Status s = backend_->CopyToDevice(DeviceBlock(ins[i + 1]), HostBlock(ins[i]), bytes);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace quire::worker
