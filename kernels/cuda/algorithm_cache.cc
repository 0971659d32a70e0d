#include "kernels/cuda/algorithm_cache.h"

#include <algorithm>

namespace quire::kernels::cuda {
namespace {

// The largest power of two up to 16 that divides both.
int Alignment(const void* address, int64_t row_bytes) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(address) | static_cast<uint64_t>(row_bytes) | 16u;
  return static_cast<int>(bits & (~bits + 1));
}

}  // namespace

ProductShape ShapeOf(const BlasCall& call) {
  ProductShape shape;
  shape.num_rows = call.num_rows;
  shape.outputs = call.weight.rows;
  shape.cols = call.weight.cols;
  shape.x_pitch = call.x_pitch;
  shape.weight_pitch = call.weight.pitch;
  shape.out_stride = call.out_stride;
  shape.dtype = call.weight.dtype;
  shape.has_bias = call.bias != nullptr;
  shape.x_alignment = Alignment(call.x, call.x_pitch * DTypeBytes(call.weight.dtype));
  shape.out_alignment = Alignment(call.out, call.out_stride * static_cast<int64_t>(sizeof(float)));
  return shape;
}

}  // namespace quire::kernels::cuda
