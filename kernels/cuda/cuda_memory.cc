#include "kernels/cuda/cuda_memory.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>

#include "kernels/half.h"

namespace quire::kernels::cuda {
namespace {

class PinnedBuffer final : public Buffer {
 public:
  PinnedBuffer(Device* device, void* data, int64_t bytes) : device_(device), data_(data), bytes_(bytes) {}
  ~PinnedBuffer() override { device_->FreePinned(data_); }
  void* data() const override { return data_; }
  int64_t size_bytes() const override { return bytes_; }

 private:
  Device* const device_;
  void* const data_;
  const int64_t bytes_;
};

}  // namespace

void PackRows(const TensorView& part, int64_t begin, int64_t count, DType stored, int64_t pitch, char* to) {
  const int64_t cols = part.dim(1), size = DTypeBytes(stored);
  const bool plain = part.dtype == stored && part.stride[1] == 1;
  std::memset(to, 0, count * pitch * size);
  Dispatch(part.dtype, [&](auto from) {
    Dispatch(stored, [&](auto target) {
      using To = decltype(target);
      for (int64_t r = 0; r < count; ++r) {
        const auto* row = part.as<decltype(from)>() + (begin + r) * part.stride[0];
        To* out = reinterpret_cast<To*>(to) + r * pitch;
        if (plain) {
          std::memcpy(out, row, cols * size);
          continue;
        }
        for (int64_t c = 0; c < cols; ++c) out[c] = Narrow<To>(Widen(row[c * part.stride[1]]));
      }
    });
  });
}

absl::StatusOr<std::unique_ptr<Weight>> PackOnDevice(absl::Span<const TensorView> parts, DType stored, Device* device,
                                                     CachingAllocator* allocator, char* staging,
                                                     int64_t staging_bytes) {
  WeightMatrix matrix;
  matrix.dtype = stored;
  matrix.cols = parts[0].dim(1);
  matrix.pitch = WeightPitch(matrix.cols);
  for (const TensorView& part : parts) matrix.rows += part.dim(0);
  const int64_t row_bytes = matrix.pitch * DTypeBytes(stored);
  absl::StatusOr<void*> memory = allocator->Allocate(matrix.rows * row_bytes);
  if (!memory.ok()) return memory.status();
  auto buffer = std::make_unique<CudaBuffer>(allocator, *memory, matrix.rows * row_bytes);
  matrix.data = *memory;
  char* to = static_cast<char*>(*memory);
  const int64_t rows_at_once = staging_bytes / row_bytes;
  CHECK_GT(rows_at_once, 0) << "a row of " << row_bytes << " bytes, staging memory of " << staging_bytes;
  for (const TensorView& part : parts) {
    for (int64_t begin = 0; begin < part.dim(0); begin += rows_at_once) {
      const int64_t count = std::min(rows_at_once, part.dim(0) - begin);
      PackRows(part, begin, count, stored, matrix.pitch, staging);
      if (absl::Status s = device->Copy(to, staging, count * row_bytes, device->compute_stream()); !s.ok()) return s;
      if (absl::Status s = device->Synchronize(device->compute_stream()); !s.ok()) return s;
      to += count * row_bytes;
    }
  }
  return std::make_unique<CudaWeight>(std::move(buffer), matrix);
}

absl::StatusOr<std::unique_ptr<Buffer>> AllocatePinnedBuffer(Device* device, int64_t bytes) {
  absl::StatusOr<void*> memory = device->AllocatePinned(std::max<int64_t>(bytes, 1));
  if (!memory.ok()) return memory.status();
  std::memset(*memory, 0, bytes);
  return std::make_unique<PinnedBuffer>(device, *memory, bytes);
}

SwapMarks::~SwapMarks() {
  for (Event mark : marks_) {
    if (mark.handle != nullptr) device_->DestroyEvent(mark);
  }
}

absl::Status SwapMarks::Init() {
  for (Event& mark : marks_) {
    absl::StatusOr<Event> created = device_->CreateEvent();
    if (!created.ok()) return created.status();
    mark = *created;
  }
  return absl::OkStatus();
}

absl::Status SwapOnDevice(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
                          const Buffer& host, Device* device, SwapMarks* marks) {
  const int64_t bytes = cache.layout.block_bytes();
  if (absl::Status s = device->Record(marks->computed(), device->compute_stream()); !s.ok()) return s;
  if (absl::Status s = device->WaitOn(device->copy_stream(), marks->computed()); !s.ok()) return s;
  for (const auto& [block, host_block] : blocks) {
    char* here = static_cast<char*>(cache.base) + block * bytes;
    char* there = static_cast<char*>(host.data()) + host_block * bytes;
    const absl::Status copied = device->Copy(out ? there : here, out ? here : there, bytes, device->copy_stream());
    if (!copied.ok()) return copied;
  }
  if (absl::Status s = device->Record(marks->swapped(), device->copy_stream()); !s.ok()) return s;
  return device->WaitOn(device->compute_stream(), marks->swapped());
}

}  // namespace quire::kernels::cuda
