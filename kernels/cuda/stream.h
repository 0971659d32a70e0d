// Handles of a device's queue and of a mark in it, without a CUDA header. Plain data.
#ifndef QUIRE_KERNELS_CUDA_STREAM_H_
#define QUIRE_KERNELS_CUDA_STREAM_H_

namespace quire::kernels::cuda {

// A queue of work on the device; null = the default one.
struct Stream {
  void* handle = nullptr;  // cudaStream_t
};

// A mark in a stream.
struct Event {
  void* handle = nullptr;  // cudaEvent_t
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_STREAM_H_
