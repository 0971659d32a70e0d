// What every operation of the CUDA backend needs: the device, its memory, small arrays on their way there, results on
// their way back, and the first error.
//
// Thread rule: as Backend.
#ifndef QUIRE_KERNELS_CUDA_CUDA_CONTEXT_H_
#define QUIRE_KERNELS_CUDA_CUDA_CONTEXT_H_

#include <cstdint>
#include <memory>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/cuda/argument_ring.h"
#include "kernels/cuda/caching_allocator.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda {

// Device memory that grows to the largest request and stays.
class Scratch final {
 public:
  explicit Scratch(CachingAllocator* allocator) : allocator_(allocator) {}
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // Earlier users are queued before later ones, so a smaller piece may be freed at once. Errors: the allocator's.
  absl::StatusOr<void*> AtLeast(int64_t bytes);

 private:
  CachingAllocator* const allocator_;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

class CudaContext final {
 public:
  static constexpr int64_t kStagingBytes = int64_t{16} << 20;

  // With `blocking` Launched waits for the kernels.
  CudaContext(std::unique_ptr<Device> device, bool blocking);
  ~CudaContext();
  absl::Status Init();

  Device* device() const { return device_.get(); }
  CachingAllocator* allocator() { return &allocator_; }
  Stream stream() const { return device_->compute_stream(); }
  // Pinned host memory of kStagingBytes; what Fetch fills.
  char* staging() { return staging_; }

  // Makes the device this thread's. Returns the first error there was.
  absl::Status Enter();
  // Whether an operation may queue kernels.
  bool Ready() { return Enter().ok(); }
  void Note(const absl::Status& status) {
    if (!status.ok() && error_.ok()) error_ = status;
  }
  // After an operation's kernels.
  void Launched(const char* operation);
  // Waits for all queued work. Returns the first error there was.
  absl::Status Synchronize();
  absl::Status CopyAndWait(void* to, const void* from, int64_t bytes);

  // The array on the device; null if it is empty or could not be sent: ask Sent before it is used.
  template <typename T>
  const T* OnDevice(absl::Span<const T> host) {
    if (host.empty()) return nullptr;
    return static_cast<const T*>(arguments_.Upload(host.data(), static_cast<int64_t>(host.size() * sizeof(T))));
  }
  bool Sent();

  // Room for `count` elements; null after an error.
  template <typename T>
  T* Room(Scratch* scratch, int64_t count) {
    absl::StatusOr<void*> memory = scratch->AtLeast(count * static_cast<int64_t>(sizeof(T)));
    Note(memory.status());
    return memory.ok() ? static_cast<T*>(*memory) : nullptr;
  }

  // Copies results into staging() and waits; false after an error. Requires: bytes <= kStagingBytes.
  bool Fetch(const void* from, int64_t bytes);

 private:
  const std::unique_ptr<Device> device_;
  const bool blocking_;
  CachingAllocator allocator_;
  ArgumentRing arguments_;
  char* staging_ = nullptr;
  std::thread::id thread_;
  absl::Status error_;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_CUDA_CONTEXT_H_
