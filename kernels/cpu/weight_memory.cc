#include "kernels/cpu/weight_memory.h"

#include <utility>

#include "kernels/backend.h"
#include "kernels/cpu/host_memory.h"

namespace quire::kernels::cpu {
namespace {

// The start of new memory, which keeps its buffer alive.
absl::StatusOr<std::shared_ptr<void>> NewMemory(int64_t bytes) {
  absl::StatusOr<std::unique_ptr<Buffer>> buffer = AllocateHost(bytes);
  if (!buffer.ok()) return buffer.status();
  std::shared_ptr<Buffer> owner = *std::move(buffer);
  void* data = owner->data();
  return std::shared_ptr<void>(std::move(owner), data);
}

}  // namespace

absl::StatusOr<std::shared_ptr<void>> WeightMemory::Take(int64_t bytes) {
  if (bytes >= kOwnBytes) return NewMemory(bytes);
  std::shared_ptr<void> slab = slab_.lock();
  if (slab == nullptr || used_ + bytes > kSlabBytes) {
    absl::StatusOr<std::shared_ptr<void>> memory = NewMemory(kSlabBytes);
    if (!memory.ok()) return memory.status();
    slab = *std::move(memory);
    slab_ = slab;
    used_ = 0;
  }
  void* piece = static_cast<char*>(slab.get()) + used_;
  used_ += (bytes + kAlign - 1) / kAlign * kAlign;
  return std::shared_ptr<void>(std::move(slab), piece);
}

}  // namespace quire::kernels::cpu
