// A CUDA device's memory, queues and marks: the seam between CudaBackend and the runtime. Production: the CUDA runtime
// (runtime_device.cc); tests: the emulator (emulator/emulated_device.cc).
//
// Thread rule: as Backend; MakeCurrent first on every thread that calls.
// Errors of all: INTERNAL with the runtime's words; RESOURCE_EXHAUSTED where memory ran out, with the bytes asked.
#ifndef QUIRE_KERNELS_CUDA_DEVICE_H_
#define QUIRE_KERNELS_CUDA_DEVICE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/stream.h"

namespace quire::kernels::cuda {

struct DeviceFacts {
  std::string name;  // "NVIDIA H200"
  std::string id;    // that no other device of the host has: its place on the bus
  int major = 0;     // compute capability
  int minor = 0;
  int num_multiprocessors = 1;
  int64_t total_bytes = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceFacts& facts() const = 0;
  // Makes this the calling thread's device.
  virtual absl::Status MakeCurrent() = 0;

  // Of kernels; of swaps, which may run beside them.
  virtual Stream compute_stream() const = 0;
  virtual Stream copy_stream() const = 0;

  // Uninitialized, 256-byte aligned. Freed memory may still be in use by earlier work of any stream: freeing waits.
  virtual absl::StatusOr<void*> Allocate(int64_t bytes) = 0;
  virtual void Free(void* memory) = 0;
  // Host memory that copies reach without staging.
  virtual absl::StatusOr<void*> AllocatePinned(int64_t bytes) = 0;
  virtual void FreePinned(void* memory) = 0;
  virtual absl::StatusOr<int64_t> FreeBytes() = 0;

  // Queues a copy between any two places.
  virtual absl::Status Copy(void* to, const void* from, int64_t bytes, Stream stream) = 0;
  virtual absl::Status Zero(void* memory, int64_t bytes, Stream stream) = 0;
  // Waits for all queued work and reports its errors.
  virtual absl::Status Synchronize(Stream stream) = 0;

  virtual absl::StatusOr<Event> CreateEvent() = 0;
  virtual void DestroyEvent(Event event) = 0;
  virtual absl::Status Record(Event event, Stream stream) = 0;
  // Waits on the host until the mark, if it was ever recorded, is reached.
  virtual absl::Status Wait(Event event) = 0;
  // Later work of the stream waits for the mark.
  virtual absl::Status WaitOn(Stream stream, Event event) = 0;

  // The error of kernel starts since the last call.
  virtual absl::Status LaunchError() = 0;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_DEVICE_H_
