// Operations on rows of activations, as CUDA kernels: norms, rotary positions, activations, sums, embeddings. Each
// call starts one kernel on the stream; shapes were checked by Backend.
//
// Invariant: a row's bits depend on that row alone: one block or one thread has a whole row or element, its sums have
// one order.
#ifndef QUIRE_KERNELS_CUDA_ROW_KERNELS_H_
#define QUIRE_KERNELS_CUDA_ROW_KERNELS_H_

#include <cstdint>

#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

// Rows of f32 on the device; strides in elements.
struct Rows {
  float* data = nullptr;
  int64_t num_rows = 0;
  int64_t width = 0;
  int64_t stride = 0;
};

struct NormCall {
  Rows x, out;  // may be the same
  const float* weight = nullptr;
  const float* bias = nullptr;  // null = none
  float eps = 0.0f;
  bool subtract_mean = false;
  // Not null: the sum of squares is given, [num_rows] apart by squares_stride, of `count` elements.
  const float* squares = nullptr;
  int64_t squares_stride = 0;
  int64_t count = 0;
};

void LaunchNorm(const NormCall& call, Stream stream);
void LaunchSumSquares(const Rows& x, const Rows& out, Stream stream);

// table: rows of `dtype`, row 0 is id first_row.
void LaunchEmbed(const TensorView& table, int64_t first_row, const int32_t* ids, const Rows& out, Stream stream);

// x: [num_rows, num_heads, head_dim] by row stride; cos_sin: [.., 2, half] by position stride.
void LaunchRope(const Rows& x, int64_t num_heads, int64_t head_dim, const float* cos_sin, int64_t position_stride,
                int64_t half, const int32_t* positions, Stream stream);

enum class Pointwise : uint8_t { kRelu, kGeluErf, kGeluTanh, kSilu, kScale, kClamp, kSoftCap };

// out = f(x), times x's second half where gated; `value` is the factor, limit or cap. out may be x.
void LaunchPointwise(Pointwise op, bool gated, const Rows& x, float value, const Rows& out, Stream stream);

// x += y.
void LaunchAdd(const Rows& x, const Rows& y, Stream stream);

// x[t] *= sigmoid(gate[t]).
void LaunchScaleRows(const Rows& x, const Rows& gate, Stream stream);

void LaunchGather(const Rows& x, const int32_t* rows, const Rows& out, Stream stream);

// to[r][c] = x[r][c] rounded to dtype, rows pitch elements apart; columns from x.width to pitch are zero.
void LaunchNarrow(const Rows& x, DType dtype, void* to, int64_t pitch, Stream stream);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_ROW_KERNELS_H_
