// CUDA's words for kernel files, on the CPU: threads of a block are fibers of the calling thread, blocks run one after
// another. For tests only: it finds wrong indices, missing barriers and wrong sums, not the memory model's subtleties.
//
// Thread rule: any thread; kernels of different threads run one after another.
// Invariants:
//   E1  A fiber runs until it waits at a barrier or ends. The order of fibers changes from pass to pass, so that code
//       that needs a barrier it does not have gives other results than expected, repeatably.
//   E2  Static variables stand for shared memory: one block runs at a time.
//   E3  Threads that wait for ever (a barrier that others never reach) end the process with the kernel's grid.
#ifndef QUIRE_KERNELS_CUDA_EMULATOR_SIMT_H_
#define QUIRE_KERNELS_CUDA_EMULATOR_SIMT_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#include "kernels/cuda/stream.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

struct dim3 {
  dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
  unsigned x, y, z;
};

struct alignas(16) float4 {
  float x, y, z, w;
};

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};

namespace quire::kernels::cuda {

namespace emulator {

inline constexpr int kWarpSize = 32;

struct ThreadState {
  dim3 thread, block, block_size, grid;
};

// Of the fiber that runs.
extern ThreadState state;

// Runs body once for each thread of each block.
void Run(dim3 grid, int num_threads, int64_t shared_bytes, const std::function<void()>& body);

void* DynamicShared();
void BlockBarrier();
// Waits for the lanes of the warp that have not ended.
void WarpBarrier();
// Hands `bytes` of every lane to every lane: [kWarpSize][bytes], valid until the lane's next exchange but one.
const void* WarpExchange(const void* value, int64_t bytes);

}  // namespace emulator

template <typename... Params, typename... Args>
void Launch(void (*kernel)(Params...), dim3 grid, int num_threads, int64_t shared_bytes, Stream /*stream*/,
            Args... args) {
  emulator::Run(grid, num_threads, shared_bytes, [&] { kernel(static_cast<Params>(args)...); });
}

}  // namespace quire::kernels::cuda

#define QUIRE_DYNAMIC_SHARED(type, name) \
  type* name = static_cast<type*>(::quire::kernels::cuda::emulator::DynamicShared())

#define threadIdx (::quire::kernels::cuda::emulator::state.thread)
#define blockIdx (::quire::kernels::cuda::emulator::state.block)
#define blockDim (::quire::kernels::cuda::emulator::state.block_size)
#define gridDim (::quire::kernels::cuda::emulator::state.grid)

inline void __syncthreads() { ::quire::kernels::cuda::emulator::BlockBarrier(); }
inline void __syncwarp() { ::quire::kernels::cuda::emulator::WarpBarrier(); }

template <typename T>
T __shfl_xor_sync(unsigned /*mask*/, T value, int lane_mask) {
  const int lane = static_cast<int>(threadIdx.x) % ::quire::kernels::cuda::emulator::kWarpSize;
  const T* all = static_cast<const T*>(::quire::kernels::cuda::emulator::WarpExchange(&value, sizeof(T)));
  return all[lane ^ lane_mask];
}

template <typename T>
T __shfl_up_sync(unsigned /*mask*/, T value, unsigned delta) {
  const unsigned lane = threadIdx.x % ::quire::kernels::cuda::emulator::kWarpSize;
  const T* all = static_cast<const T*>(::quire::kernels::cuda::emulator::WarpExchange(&value, sizeof(T)));
  return lane >= delta ? all[lane - delta] : value;
}

template <typename T>
T __shfl_sync(unsigned /*mask*/, T value, int from) {
  return static_cast<const T*>(::quire::kernels::cuda::emulator::WarpExchange(&value, sizeof(T)))[from];
}

namespace quire::kernels::cuda::emulator {

// What a butterfly of additions over neighbouring groups of `width` lanes gives, by one exchange instead of its steps.
template <typename T>
T ButterflySum(T value, int width) {
  T sums[kWarpSize], next[kWarpSize];
  std::memcpy(sums, WarpExchange(&value, sizeof(T)), sizeof(sums));
  for (int mask = width / 2; mask > 0; mask /= 2) {
    for (int i = 0; i < kWarpSize; ++i) next[i] = sums[i] + sums[i ^ mask];
    std::memcpy(sums, next, sizeof(sums));
  }
  return sums[static_cast<int>(threadIdx.x) % kWarpSize];
}

}  // namespace quire::kernels::cuda::emulator

// One fiber runs at a time: plain additions are whole.
template <typename T>
T atomicAdd(T* at, T value) {
  const T before = *at;
  *at = before + value;
  return before;
}

#endif  // QUIRE_KERNELS_CUDA_EMULATOR_SIMT_H_
