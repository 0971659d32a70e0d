// Small host arrays on their way to the device: ids, positions, block tables. Copied through pinned memory in a ring; an
// array that was sent lately and has not changed is not sent again (every layer of a step asks for the same ones).
//
// Thread rule: as Backend.
// Invariants:
//   A1  Pinned bytes are overwritten only when the copy that reads them is done: a mark is set when the ring leaves a
//       segment and waited for when it comes back.
//   A2  Device bytes are overwritten in the order of the compute stream, so behind every kernel that was given them.
#ifndef QUIRE_KERNELS_CUDA_ARGUMENT_RING_H_
#define QUIRE_KERNELS_CUDA_ARGUMENT_RING_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda {

class ArgumentRing final {
 public:
  // Requires: device outlives the ring. Memory is taken at the first use.
  ArgumentRing(Device* device, int64_t segment_bytes) : device_(device), segment_bytes_(segment_bytes) {}
  ~ArgumentRing();

  // The device's copy of the bytes, good for kernels that are queued before kSegments - 1 further segments are filled;
  // null after an error. Cost: a comparison where they are there already.
  const void* Upload(const void* host, int64_t bytes);

  // The first error, for good.
  const absl::Status& status() const { return status_; }
  int64_t num_copies() const { return num_copies_; }

 private:
  static constexpr int kSegments = 4;
  static constexpr size_t kRemembered = 24;

  struct Sent {
    const void* host = nullptr;
    int64_t bytes = 0;
    int64_t offset = 0;  // in both memories
    int segment = 0;
  };

  absl::Status Grow(int64_t bytes);
  absl::Status NextSegment();
  absl::Status Send(const void* host, int64_t bytes, int64_t* offset);
  void Release();

  Device* const device_;
  int64_t segment_bytes_;
  char* pinned_ = nullptr;
  char* memory_ = nullptr;
  Event left_[kSegments];
  int segment_ = 0;
  int64_t used_ = 0;  // of the segment
  std::vector<Sent> sent_;
  size_t next_sent_ = 0;
  int64_t num_copies_ = 0;
  absl::Status status_;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_ARGUMENT_RING_H_
