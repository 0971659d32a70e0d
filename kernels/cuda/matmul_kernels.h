// Products of activations with a stored weight, exact: f32 times the widened weight, summed in f32 in one order.
//
// A warp has some outputs of some rows. Lane l adds up columns 8 l .. 8 l + 7 of every 256 in ascending order, then the
// lanes are summed by a butterfly: an output's bits hang neither on the number of rows nor on how they are shared out.
// For few rows this is as fast as memory; for many the caller has cuBLASLt.
#ifndef QUIRE_KERNELS_CUDA_MATMUL_KERNELS_H_
#define QUIRE_KERNELS_CUDA_MATMUL_KERNELS_H_

#include <cstdint>

#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

inline constexpr int64_t kColumnsOfLane = 8;

// A weight in memory: row-major, rows `pitch` elements apart, 16-byte aligned, zero from cols to pitch.
struct WeightMatrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t pitch = 0;  // a multiple of kColumnsOfLane
};

inline int64_t WeightPitch(int64_t cols) { return (cols + kColumnsOfLane - 1) / kColumnsOfLane * kColumnsOfLane; }

// out = x * weight^T + bias.
void LaunchMatMul(const Rows& x, const WeightMatrix& weight, const float* bias, const Rows& out, Stream stream);

// Rows of x at expert e: row_start[e] .. row_start[e + 1] of out, from row_token[r] (null: r) of x. `experts` lie on
// the device, alike but for data.
struct ExpertCall {
  const void* const* experts = nullptr;  // [num_experts] data
  int64_t num_experts = 0;
  WeightMatrix shape;
  const int32_t* row_start = nullptr;
  const int32_t* row_token = nullptr;
};

void LaunchExpertMatMul(const Rows& x, const ExpertCall& call, const Rows& out, Stream stream);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_MATMUL_KERNELS_H_
