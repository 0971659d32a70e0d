// A device whose memory is the host's and whose queues run at once. For tests.
#ifndef QUIRE_KERNELS_CUDA_EMULATOR_EMULATED_DEVICE_H_
#define QUIRE_KERNELS_CUDA_EMULATOR_EMULATED_DEVICE_H_

#include <map>
#include <memory>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda::emulator {

class EmulatedDevice final : public Device {
 public:
  // At most total_bytes are handed out.
  explicit EmulatedDevice(int64_t total_bytes);
  ~EmulatedDevice() override;

  const DeviceFacts& facts() const override { return facts_; }
  absl::Status MakeCurrent() override { return absl::OkStatus(); }
  Stream compute_stream() const override { return {}; }
  Stream copy_stream() const override { return {}; }
  absl::StatusOr<void*> Allocate(int64_t bytes) override;
  void Free(void* memory) override;
  absl::StatusOr<void*> AllocatePinned(int64_t bytes) override;
  void FreePinned(void* memory) override;
  absl::StatusOr<int64_t> FreeBytes() override { return facts_.total_bytes - used_bytes_; }
  absl::Status Copy(void* to, const void* from, int64_t bytes, Stream stream) override;
  absl::Status Zero(void* memory, int64_t bytes, Stream stream) override;
  absl::Status Synchronize(Stream /*stream*/) override { return absl::OkStatus(); }
  absl::StatusOr<Event> CreateEvent() override;
  void DestroyEvent(Event event) override;
  absl::Status Record(Event event, Stream stream) override;
  absl::Status Wait(Event event) override;
  absl::Status WaitOn(Stream /*stream*/, Event /*event*/) override { return absl::OkStatus(); }
  absl::Status LaunchError() override { return absl::OkStatus(); }

  int num_allocations() const { return num_allocations_; }
  int num_records() const { return num_records_; }
  int num_waits() const { return num_waits_; }

 private:
  DeviceFacts facts_;
  std::map<void*, int64_t> memory_;  // size by address
  int64_t used_bytes_ = 0;
  int num_allocations_ = 0, num_events_ = 0, num_records_ = 0, num_waits_ = 0;
};

// Products by plain loops over what a library would be given.
class EmulatedBlas final : public Blas {
 public:
  bool MatMul(const BlasCall& call, Stream stream) override;
};

}  // namespace quire::kernels::cuda::emulator

#endif  // QUIRE_KERNELS_CUDA_EMULATOR_EMULATED_DEVICE_H_
