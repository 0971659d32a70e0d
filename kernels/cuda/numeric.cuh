// Stored numbers on the device: the dispatch from a DType to a C++ type, widening, and eight numbers at a time. For
// kernel files.
#ifndef QUIRE_KERNELS_CUDA_NUMERIC_CUH_
#define QUIRE_KERNELS_CUDA_NUMERIC_CUH_

#include <cstdint>

#include "kernels/cuda/simt.cuh"
#include "kernels/float_types.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

// Calls f(T{}) with the C++ type of a stored DType; the interface has refused integers.
template <typename F>
void DispatchStored(DType dtype, F&& f) {
  if (dtype == DType::kF16) {
    f(Float16{});
  } else if (dtype == DType::kBF16) {
    f(BFloat16{});
  } else {
    f(float{});
  }
}

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(BFloat16 value) { return Widen(value); }
__device__ __forceinline__ float ToFloat(Float16 value) {
#ifdef __CUDA_ARCH__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return Widen(value);
#endif
}

// Elements of one 16-byte load.
template <typename T>
inline constexpr int kPerLoad = 16 / static_cast<int>(sizeof(T));

// Widens kPerLoad<T> elements from a 16-byte aligned address.
__device__ __forceinline__ void LoadWide(const float* from, float* to) {
  const float4 v = *reinterpret_cast<const float4*>(from);
  to[0] = v.x;
  to[1] = v.y;
  to[2] = v.z;
  to[3] = v.w;
}

template <typename T>
__device__ __forceinline__ void LoadWide(const T* from, float* to) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = ToFloat(T{static_cast<uint16_t>(words[i] & 0xffffu)});
    to[2 * i + 1] = ToFloat(T{static_cast<uint16_t>(words[i] >> 16)});
  }
}

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_NUMERIC_CUH_
