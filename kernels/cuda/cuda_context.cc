#include "kernels/cuda/cuda_context.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::kernels::cuda {
namespace {

constexpr int64_t kArgumentSegmentBytes = 256 << 10;

}  // namespace

Scratch::~Scratch() {
  if (data_ != nullptr) allocator_->Free(data_);
}

absl::StatusOr<void*> Scratch::AtLeast(int64_t bytes) {
  if (bytes <= bytes_) return data_;
  if (data_ != nullptr) allocator_->Free(std::exchange(data_, nullptr));
  bytes_ = 0;
  absl::StatusOr<void*> memory = allocator_->Allocate(bytes + bytes / 4);
  if (!memory.ok()) return memory;
  data_ = *memory;
  bytes_ = bytes + bytes / 4;
  return data_;
}

CudaContext::CudaContext(std::unique_ptr<Device> device, bool blocking)
    : device_(std::move(device)),
      blocking_(blocking),
      allocator_(device_.get()),
      arguments_(device_.get(), kArgumentSegmentBytes) {}

CudaContext::~CudaContext() {
  const absl::Status status = Synchronize();
  LOG_IF(ERROR, !status.ok()) << device_->facts().name << " ends with " << status;
  if (staging_ != nullptr) device_->FreePinned(staging_);
}

absl::Status CudaContext::Init() {
  absl::StatusOr<void*> staging = device_->AllocatePinned(kStagingBytes);
  if (!staging.ok()) return staging.status();
  staging_ = static_cast<char*>(*staging);
  return absl::OkStatus();
}

absl::Status CudaContext::Enter() {
  if (thread_ != std::this_thread::get_id()) {
    thread_ = std::this_thread::get_id();
    Note(device_->MakeCurrent());
  }
  return error_;
}

void CudaContext::Launched(const char* operation) {
  absl::Status status = device_->LaunchError();
  if (status.ok() && blocking_) status = device_->Synchronize(stream());
  if (!status.ok()) Note(absl::Status(status.code(), absl::StrCat(operation, ": ", status.message())));
}

absl::Status CudaContext::Synchronize() {
  if (absl::Status s = Enter(); !s.ok()) return s;
  Note(arguments_.status());
  Note(device_->Synchronize(stream()));
  return error_;
}

absl::Status CudaContext::CopyAndWait(void* to, const void* from, int64_t bytes) {
  if (absl::Status s = Enter(); !s.ok()) return s;
  Note(device_->Copy(to, from, bytes, stream()));
  return Synchronize();
}

bool CudaContext::Sent() {
  Note(arguments_.status());
  return error_.ok();
}

bool CudaContext::Fetch(const void* from, int64_t bytes) {
  CHECK_LE(bytes, kStagingBytes);
  if (error_.ok()) Note(device_->Copy(staging_, from, bytes, stream()));
  if (error_.ok()) Note(device_->Synchronize(stream()));
  return error_.ok();
}

}  // namespace quire::kernels::cuda
