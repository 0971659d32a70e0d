// Buffers and packed weights on the device. Thread rule: as Backend.
#ifndef QUIRE_KERNELS_CUDA_CUDA_MEMORY_H_
#define QUIRE_KERNELS_CUDA_CUDA_MEMORY_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/caching_allocator.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/matmul_kernels.h"

namespace quire::kernels::cuda {

class CudaBuffer final : public Buffer {
 public:
  CudaBuffer(CachingAllocator* allocator, void* data, int64_t bytes)
      : allocator_(allocator), data_(data), bytes_(bytes) {}
  ~CudaBuffer() override { allocator_->Free(data_); }
  void* data() const override { return data_; }
  int64_t size_bytes() const override { return bytes_; }

 private:
  CachingAllocator* const allocator_;
  void* const data_;
  const int64_t bytes_;
};

class CudaWeight final : public Weight {
 public:
  CudaWeight(std::unique_ptr<Buffer> buffer, const WeightMatrix& matrix)
      : buffer_(std::move(buffer)), matrix_(matrix) {}
  int64_t rows() const override { return matrix_.rows; }
  int64_t cols() const override { return matrix_.cols; }
  int64_t bytes() const override { return buffer_->size_bytes(); }
  const WeightMatrix& matrix() const { return matrix_; }

 private:
  const std::unique_ptr<Buffer> buffer_;
  const WeightMatrix matrix_;
};

// Host memory of AllocatePinned, zeroed. Errors: the device's.
absl::StatusOr<std::unique_ptr<Buffer>> AllocatePinnedBuffer(Device* device, int64_t bytes);

// The marks by which swaps and kernels wait for each other.
class SwapMarks final {
 public:
  explicit SwapMarks(Device* device) : device_(device) {}
  ~SwapMarks();
  SwapMarks(const SwapMarks&) = delete;
  SwapMarks& operator=(const SwapMarks&) = delete;
  absl::Status Init();

  Event computed() const { return marks_[0]; }
  Event swapped() const { return marks_[1]; }

 private:
  Device* const device_;
  Event marks_[2];
};

// Queues the moves on the copy stream: behind all kernels so far, before all later ones.
absl::Status SwapOnDevice(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
                          const Buffer& host, Device* device, SwapMarks* marks);

// Writes one part's rows [begin, begin + count) as the weight has them: narrowed to `stored`, padded to `pitch`.
void PackRows(const TensorView& part, int64_t begin, int64_t count, DType stored, int64_t pitch, char* to);

// Packs by way of pinned memory of `staging_bytes`, piece by piece.
absl::StatusOr<std::unique_ptr<Weight>> PackOnDevice(absl::Span<const TensorView> parts, DType stored, Device* device,
                                                     CachingAllocator* allocator, char* staging, int64_t staging_bytes);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_CUDA_MEMORY_H_
