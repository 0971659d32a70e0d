// Sums and maxima over a warp and a block, each in one fixed order, known to every thread. For kernel files.
#ifndef QUIRE_KERNELS_CUDA_WARP_CUH_
#define QUIRE_KERNELS_CUDA_WARP_CUH_

#include <cstdint>

#include "kernels/cuda/simt.cuh"

namespace quire::kernels::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ __forceinline__ int Lane() { return static_cast<int>(threadIdx.x) % kWarp; }
__device__ __forceinline__ int WarpIndex() { return static_cast<int>(threadIdx.x) / kWarp; }
__device__ __forceinline__ int NumWarps() { return (static_cast<int>(blockDim.x) + kWarp - 1) / kWarp; }

// Sums over neighbouring groups of `width` lanes, a power of two. A butterfly: both ends of an exchange add the same two
// numbers, so all lanes hold the same bits.
template <typename T>
__device__ __forceinline__ T GroupSum(T value, int width) {
#ifdef __CUDACC__
  for (int mask = width / 2; mask > 0; mask /= 2) value += __shfl_xor_sync(kAllLanes, value, mask);
  return value;
#else
  return emulator::ButterflySum(value, width);
#endif
}

template <typename T>
__device__ __forceinline__ T WarpSum(T value) {
  return GroupSum(value, kWarp);
}

__device__ __forceinline__ float WarpMax(float value) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) value = fmaxf(value, __shfl_xor_sync(kAllLanes, value, mask));
  return value;
}

// Sums over all threads of the block, warps in ascending order. Requires: whole warps; the block calls it together.
template <typename T>
__device__ T BlockSum(T value) {
  __shared__ T parts[kWarp];
  value = WarpSum(value);
  __syncthreads();  // an earlier call's readers are done
  if (Lane() == 0) parts[WarpIndex()] = value;
  __syncthreads();
  T sum = parts[0];
  for (int w = 1; w < NumWarps(); ++w) sum += parts[w];
  return sum;
}

inline __device__ float BlockMax(float value) {
  __shared__ float parts[kWarp];
  value = WarpMax(value);
  __syncthreads();
  if (Lane() == 0) parts[WarpIndex()] = value;
  __syncthreads();
  float max = parts[0];
  for (int w = 1; w < NumWarps(); ++w) max = fmaxf(max, parts[w]);
  return max;
}

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_WARP_CUH_
