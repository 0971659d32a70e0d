// What kernel files are written against: CUDA under nvcc, and under any C++ compiler the emulator, which runs the same
// source on the CPU (emulator/simt.h). So every kernel stands in the conformance suite without a GPU.
//
// Rules for kernel files that keep both true:
//   K1  Kernels are started by Launch, never by <<<>>>; dynamic shared memory comes from QUIRE_DYNAMIC_SHARED.
//   K2  Threads talk by __syncthreads, the warp functions of warp.cuh and atomics on shared or global memory only; all
//       32 lanes of a warp take part in a warp function.
//   K3  Multiply and add are fused only where fmaf is written: compiled with -fmad=false, so that the CPU has the same
//       bits.
//   K4  No header of absl or glog: nvcc parses every one twice per architecture.
#ifndef QUIRE_KERNELS_CUDA_SIMT_CUH_
#define QUIRE_KERNELS_CUDA_SIMT_CUH_

#include <cstdint>

#include "kernels/cuda/stream.h"

#ifdef __CUDACC__

#include <cuda_runtime.h>

#define QUIRE_DYNAMIC_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char quire_dynamic_shared[]; \
  type* name = reinterpret_cast<type*>(quire_dynamic_shared)

namespace quire::kernels::cuda {

// Starts a kernel; a start that fails shows in Device::LaunchError.
template <typename... Params, typename... Args>
void Launch(void (*kernel)(Params...), dim3 grid, int num_threads, int64_t shared_bytes, Stream stream, Args... args) {
  kernel<<<grid, static_cast<unsigned>(num_threads), static_cast<size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream.handle)>>>(static_cast<Params>(args)...);
}

}  // namespace quire::kernels::cuda

#else

#include "kernels/cuda/emulator/simt.h"

#endif  // __CUDACC__

#endif  // QUIRE_KERNELS_CUDA_SIMT_CUH_
