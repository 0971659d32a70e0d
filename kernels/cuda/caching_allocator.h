// Device memory in pieces that are kept when they are freed: the runtime's own calls take long and wait for the device.
// Small pieces share slabs.
//
// Thread rule: as Backend; buffers may be freed on any thread.
// Invariants:
//   M1  Every byte of a slab belongs to one piece; free neighbours of a slab are one piece.
//   M2  When the device has no more memory, all wholly free slabs go back before the request is refused.
#ifndef QUIRE_KERNELS_CUDA_CACHING_ALLOCATOR_H_
#define QUIRE_KERNELS_CUDA_CACHING_ALLOCATOR_H_

#include <cstdint>
#include <map>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda {

class CachingAllocator final {
 public:
  // Requires: device outlives the allocator, and the allocator its pieces.
  explicit CachingAllocator(Device* device) : device_(device) {}
  ~CachingAllocator();

  // At least `bytes`, kAlignment-aligned, not cleared. Errors: RESOURCE_EXHAUSTED with the bytes asked and free.
  absl::StatusOr<void*> Allocate(int64_t bytes);
  // A piece may be handed out again at once: later work is queued behind earlier work of the compute stream.
  void Free(void* memory);

  // Bytes that Allocate could still give: free on the device and kept here.
  absl::StatusOr<int64_t> FreeBytes();
  int64_t kept_bytes() const;

  static constexpr int64_t kAlignment = 256;
  static constexpr int64_t kSlabBytes = int64_t{32} << 20;  // of pieces up to a quarter of it; others have their own

 private:
  struct Piece {
    int64_t bytes = 0;
    char* slab = nullptr;
    bool free = true;
  };

  char* TakeFree(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AddSlab(int64_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives wholly free slabs back to the device; how many bytes.
  int64_t Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Device* const device_;
  mutable absl::Mutex mu_;
  std::map<char*, int64_t> slabs_ ABSL_GUARDED_BY(mu_);  // size by address
  std::map<char*, Piece> pieces_ ABSL_GUARDED_BY(mu_);   // by address
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_CACHING_ALLOCATOR_H_
