// This rank's KV cache: one device buffer of block-major extents and a host pool of whole blocks. Compute thread.
#ifndef QUIRE_WORKER_RUNTIME_KV_CACHE_H_
#define QUIRE_WORKER_RUNTIME_KV_CACHE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace quire::worker::v1 {
class Step;
}

namespace quire::worker {

class KvCache final {
 public:
  // Allocates layout.num_blocks device blocks and `num_host_blocks` host blocks. Errors: RESOURCE_EXHAUSTED with the
  // bytes asked and free.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(const kernels::KvCacheLayout& layout, int64_t num_host_blocks,
                                                         kernels::Backend* backend);

  const kernels::KvCacheView& view() const { return view_; }

  // Notes host_frees, then moves the blocks that the step names: swap_outs, block_copies, swap_ins, in this order. Requires: ids checked by
  // the sequence table.
  absl::Status Move(const v1::Step& step);

  // Host blocks that hold something: filled by a swap-out and not yet freed by the plan.
  int64_t used_host_blocks() const { return used_host_blocks_; }

 private:
  KvCache(kernels::Backend* backend, std::unique_ptr<kernels::Buffer> buffer, std::unique_ptr<kernels::Buffer> host,
          const kernels::KvCacheLayout& layout, int64_t num_host_blocks);
  // (source, destination, source, ...) as pairs, until the next call.
  template <typename Numbers>
  absl::Span<const std::pair<int32_t, int32_t>> Pairs(const Numbers& flat);

  kernels::Backend* const backend_;
  const std::unique_ptr<kernels::Buffer> buffer_;
  const std::unique_ptr<kernels::Buffer> host_;
  const kernels::KvCacheView view_;
  std::vector<bool> host_used_;
  int64_t used_host_blocks_ = 0;
  std::vector<std::pair<int32_t, int32_t>> pairs_;  // kept for its room
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_KV_CACHE_H_
