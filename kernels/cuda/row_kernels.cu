// Row kernels: memory-bound; a block of a norm has one row, all others have one element a thread.
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/warp.cuh"

namespace quire::kernels::cuda {
namespace {

constexpr int kNormThreads = 256;
constexpr int kThreads = 256;

// Thread i has elements 4 i .. 4 i + 3 of every 4 * kNormThreads: sums have one order, however they are loaded.
template <typename F>
__device__ __forceinline__ void ForOwn(int64_t width, F&& f) {
  for (int64_t begin = 4 * static_cast<int64_t>(threadIdx.x); begin < width; begin += 4 * kNormThreads) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (begin + i < width) f(begin + i);
    }
  }
}

__global__ void __launch_bounds__(kNormThreads) NormKernel(NormCall call) {
  const int64_t t = blockIdx.x;
  const float* x = call.x.data + t * call.x.stride;  // may be out: each thread reads and writes its own elements
  float* out = call.out.data + t * call.out.stride;
  const int64_t width = call.x.width;
  float mean = 0.0f;
  if (call.subtract_mean) {
    float sum = 0.0f;
    ForOwn(width, [&](int64_t c) { sum += x[c]; });
    mean = BlockSum(sum) / static_cast<float>(width);
  }
  float square = 0.0f;
  if (call.squares != nullptr) {
    square = call.squares[t * call.squares_stride];
  } else {
    ForOwn(width, [&](int64_t c) { square = fmaf(x[c] - mean, x[c] - mean, square); });
    square = BlockSum(square);
  }
  const float scale = 1.0f / sqrtf(square / static_cast<float>(call.count) + call.eps);
  ForOwn(width, [&](int64_t c) {
    const float value = (x[c] - mean) * scale * call.weight[c];
    out[c] = call.bias == nullptr ? value : value + call.bias[c];
  });
}

__global__ void __launch_bounds__(kNormThreads) SumSquaresKernel(Rows x, Rows out) {
  const int64_t t = blockIdx.x;
  const float* row = x.data + t * x.stride;
  float square = 0.0f;
  ForOwn(x.width, [&](int64_t c) { square = fmaf(row[c], row[c], square); });
  square = BlockSum(square);
  if (threadIdx.x == 0) out.data[t * out.stride] = square;
}

// Row and column of this thread's element; false past the last. Rows lie along the grid's y and z, so that they may be
// many.
__device__ __forceinline__ bool OwnElement(int64_t num_rows, int64_t width, int64_t* row, int64_t* column) {
  *column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  *row = static_cast<int64_t>(blockIdx.z) * gridDim.y + blockIdx.y;
  return *row < num_rows && *column < width;
}

dim3 ElementGrid(int64_t num_rows, int64_t width) {
  constexpr int64_t kRowsMax = 32768;
  const int64_t y = num_rows < kRowsMax ? num_rows : kRowsMax;
  return dim3(static_cast<unsigned>((width + kThreads - 1) / kThreads), static_cast<unsigned>(y),
              static_cast<unsigned>((num_rows + y - 1) / y));
}

template <typename T>
__global__ void EmbedKernel(const T* table, int64_t num_rows, int64_t table_stride, int64_t first_row,
                            const int32_t* ids, Rows out) {
  int64_t t, c;
  if (!OwnElement(out.num_rows, out.width, &t, &c)) return;
  const int64_t row = ids[t] - first_row;
  out.data[t * out.stride + c] = row >= 0 && row < num_rows ? ToFloat(table[row * table_stride + c]) : 0.0f;
}

// One thread a pair (i, i + half) of a head.
__global__ void RopeKernel(Rows x, int64_t num_heads, int64_t head_dim, const float* cos_sin, int64_t position_stride,
                           int64_t half, const int32_t* positions) {
  int64_t t, pair;
  if (!OwnElement(x.num_rows, num_heads * half, &t, &pair)) return;
  const int64_t head = pair / half, i = pair % half;
  const float* cosine = cos_sin + positions[t] * position_stride;
  float* first = x.data + t * x.stride + head * head_dim + i;
  const float c = cosine[i], s = cosine[half + i];
  const float a = first[0], b = first[half];
  first[0] = a * c - b * s;
  first[half] = b * c + a * s;
}

template <Pointwise kOp>
__device__ __forceinline__ float Apply(float x, float value) {
  switch (kOp) {
    case Pointwise::kRelu:
      return x > 0.0f ? x : 0.0f;
    case Pointwise::kGeluErf:
      return 0.5f * x * (1.0f + erff(x * 0.70710678f));
    case Pointwise::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Pointwise::kSilu:
      return x / (1.0f + expf(-x));
    case Pointwise::kScale:
      return x * value;
    case Pointwise::kClamp:
      return fminf(fmaxf(x, -value), value);
    case Pointwise::kSoftCap:
      return value * tanhf(x / value);
  }
  return x;
}

template <Pointwise kOp>
__global__ void PointwiseKernel(Rows x, bool gated, float value, Rows out) {
  int64_t t, c;
  if (!OwnElement(out.num_rows, out.width, &t, &c)) return;
  const float* row = x.data + t * x.stride;
  const float result = Apply<kOp>(row[c], value);
  out.data[t * out.stride + c] = gated ? result * row[out.width + c] : result;
}

__global__ void AddKernel(Rows x, Rows y) {
  int64_t t, c;
  if (!OwnElement(x.num_rows, x.width, &t, &c)) return;
  x.data[t * x.stride + c] += y.data[t * y.stride + c];
}

__global__ void ScaleRowsKernel(Rows x, Rows gate) {
  int64_t t, c;
  if (!OwnElement(x.num_rows, x.width, &t, &c)) return;
  x.data[t * x.stride + c] *= 1.0f / (1.0f + expf(-gate.data[t * gate.stride]));
}

__global__ void GatherKernel(Rows x, const int32_t* rows, Rows out) {
  int64_t t, c;
  if (!OwnElement(out.num_rows, out.width, &t, &c)) return;
  out.data[t * out.stride + c] = x.data[rows[t] * x.stride + c];
}

template <typename T>
__global__ void NarrowKernel(Rows x, T* to, int64_t pitch) {
  int64_t t, c;
  if (!OwnElement(x.num_rows, pitch, &t, &c)) return;
  to[t * pitch + c] = Narrow<T>(c < x.width ? x.data[t * x.stride + c] : 0.0f);
}

template <Pointwise kOp>
void LaunchOne(bool gated, const Rows& x, float value, const Rows& out, Stream stream) {
  Launch(PointwiseKernel<kOp>, ElementGrid(out.num_rows, out.width), kThreads, 0, stream, x, gated, value, out);
}

}  // namespace

void LaunchNorm(const NormCall& call, Stream stream) {
  NormCall own = call;
  if (own.squares == nullptr) own.count = own.x.width;
  Launch(NormKernel, dim3(static_cast<unsigned>(own.x.num_rows)), kNormThreads, 0, stream, own);
}

void LaunchSumSquares(const Rows& x, const Rows& out, Stream stream) {
  Launch(SumSquaresKernel, dim3(static_cast<unsigned>(x.num_rows)), kNormThreads, 0, stream, x, out);
}

void LaunchEmbed(const TensorView& table, int64_t first_row, const int32_t* ids, const Rows& out, Stream stream) {
  DispatchStored(table.dtype, [&](auto element) {
    using T = decltype(element);
    Launch(EmbedKernel<T>, ElementGrid(out.num_rows, out.width), kThreads, 0, stream, table.as<const T>(), table.dim(0),
           table.stride[0], first_row, ids, out);
  });
}

void LaunchRope(const Rows& x, int64_t num_heads, int64_t head_dim, const float* cos_sin, int64_t position_stride,
                int64_t half, const int32_t* positions, Stream stream) {
  if (half == 0) return;
  Launch(RopeKernel, ElementGrid(x.num_rows, num_heads * half), kThreads, 0, stream, x, num_heads, head_dim, cos_sin,
         position_stride, half, positions);
}

void LaunchPointwise(Pointwise op, bool gated, const Rows& x, float value, const Rows& out, Stream stream) {
  switch (op) {
    case Pointwise::kRelu:
      return LaunchOne<Pointwise::kRelu>(gated, x, value, out, stream);
    case Pointwise::kGeluErf:
      return LaunchOne<Pointwise::kGeluErf>(gated, x, value, out, stream);
    case Pointwise::kGeluTanh:
      return LaunchOne<Pointwise::kGeluTanh>(gated, x, value, out, stream);
    case Pointwise::kSilu:
      return LaunchOne<Pointwise::kSilu>(gated, x, value, out, stream);
    case Pointwise::kScale:
      return LaunchOne<Pointwise::kScale>(gated, x, value, out, stream);
    case Pointwise::kClamp:
      return LaunchOne<Pointwise::kClamp>(gated, x, value, out, stream);
    case Pointwise::kSoftCap:
      return LaunchOne<Pointwise::kSoftCap>(gated, x, value, out, stream);
  }
}

void LaunchAdd(const Rows& x, const Rows& y, Stream stream) {
  Launch(AddKernel, ElementGrid(x.num_rows, x.width), kThreads, 0, stream, x, y);
}

void LaunchScaleRows(const Rows& x, const Rows& gate, Stream stream) {
  Launch(ScaleRowsKernel, ElementGrid(x.num_rows, x.width), kThreads, 0, stream, x, gate);
}

void LaunchGather(const Rows& x, const int32_t* rows, const Rows& out, Stream stream) {
  Launch(GatherKernel, ElementGrid(out.num_rows, out.width), kThreads, 0, stream, x, rows, out);
}

void LaunchNarrow(const Rows& x, DType dtype, void* to, int64_t pitch, Stream stream) {
  DispatchStored(dtype, [&](auto element) {
    using T = decltype(element);
    Launch(NarrowKernel<T>, ElementGrid(x.num_rows, pitch), kThreads, 0, stream, x, static_cast<T*>(to), pitch);
  });
}

}  // namespace quire::kernels::cuda
