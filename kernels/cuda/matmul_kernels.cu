// The exact product: see the header for its order of sums.
#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/warp.cuh"

namespace quire::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int64_t kStep = kColumnsOfLane * kWarp;  // columns that a warp takes at once
constexpr int kOutputs = 4;                        // of one warp: an element of x serves so many

// Eight columns of x from `column` on; zeros past the last.
__device__ __forceinline__ void LoadX(const float* row, int64_t column, int64_t cols, float* to) {
  const float* from = row + column;
  if (column + kColumnsOfLane <= cols && (reinterpret_cast<uintptr_t>(from) & 15) == 0) {
    LoadWide(from, to);
    LoadWide(from + 4, to + 4);
    return;
  }
#pragma unroll
  for (int i = 0; i < kColumnsOfLane; ++i) to[i] = column + i < cols ? from[i] : 0.0f;
}

template <typename T>
__device__ __forceinline__ void LoadWeight(const T* from, float* to) {
#pragma unroll
  for (int i = 0; i < kColumnsOfLane; i += kPerLoad<T>) LoadWide(from + i, to + i);
}

// Where a warp's rows of x and out are.
struct RowPlaces {
  const float* x[8];
  float* out[8];
};

// kTokens rows by kOutputs outputs from `output` on. A row or output past the last repeats the last and is not written.
template <typename T, int kTokens>
__device__ void WarpProduct(const T* weight, const WeightMatrix& shape, const float* bias, int64_t output,
                            const RowPlaces& places, int num_tokens) {
  const T* rows[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const int64_t row = output + o < shape.rows ? output + o : shape.rows - 1;
    rows[o] = weight + row * shape.pitch;
  }
  float sums[kTokens][kOutputs] = {};
  for (int64_t column = Lane() * kColumnsOfLane; column < shape.cols; column += kStep) {
    float w[kOutputs][kColumnsOfLane];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) LoadWeight(rows[o] + column, w[o]);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      float x[kColumnsOfLane];
      LoadX(places.x[t], column, shape.cols, x);
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
#pragma unroll
        for (int i = 0; i < kColumnsOfLane; ++i) sums[t][o] = fmaf(x[i], w[o][i], sums[t][o]);
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const float sum = WarpSum(sums[t][o]);
      if (Lane() != o || t >= num_tokens || output + o >= shape.rows) continue;
      places.out[t][output + o] = bias == nullptr ? sum : sum + bias[output + o];
    }
  }
}

template <typename T, int kTokens>
__global__ void __launch_bounds__(kThreads) MatMulKernel(Rows x, WeightMatrix weight, const float* bias, Rows out) {
  const int64_t output = (static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex()) * kOutputs;
  const int64_t first = static_cast<int64_t>(blockIdx.y) * kTokens;
  if (output >= weight.rows) return;  // the whole warp
  const int64_t left = x.num_rows - first;
  const int num_tokens = static_cast<int>(left < kTokens ? left : kTokens);
  RowPlaces places;
#pragma unroll
  for (int t = 0; t < kTokens; ++t) {
    const int64_t row = first + (t < num_tokens ? t : num_tokens - 1);
    places.x[t] = x.data + row * x.stride;
    places.out[t] = out.data + row * out.stride;
  }
  WarpProduct<T, kTokens>(static_cast<const T*>(weight.data), weight, bias, output, places, num_tokens);
}

// A block has its outputs of one expert for all of the expert's rows, so that the weight is read once from memory.
template <typename T, int kTokens>
__global__ void __launch_bounds__(kThreads) ExpertMatMulKernel(Rows x, ExpertCall call, Rows out) {
  const int64_t output = (static_cast<int64_t>(blockIdx.x) * kWarps + WarpIndex()) * kOutputs;
  if (output >= call.shape.rows) return;
  const int64_t expert = blockIdx.y;
  const int64_t begin = call.row_start[expert], end = call.row_start[expert + 1];
  for (int64_t first = begin; first < end; first += kTokens) {
    const int num_tokens = static_cast<int>(end - first < kTokens ? end - first : kTokens);
    RowPlaces places;
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int64_t row = first + (t < num_tokens ? t : num_tokens - 1);
      const int64_t source = call.row_token == nullptr ? row : call.row_token[row];
      places.x[t] = x.data + source * x.stride;
      places.out[t] = out.data + row * out.stride;
    }
    WarpProduct<T, kTokens>(static_cast<const T*>(call.experts[expert]), call.shape, nullptr, output, places,
                            num_tokens);
  }
}

unsigned OutputBlocks(int64_t rows) {
  return static_cast<unsigned>((rows + kWarps * kOutputs - 1) / (kWarps * kOutputs));
}

template <typename T, int kTokens>
void LaunchTile(const Rows& x, const WeightMatrix& weight, const float* bias, const Rows& out, Stream stream) {
  constexpr int64_t kTilesMax = 32768;
  for (int64_t begin = 0; begin < x.num_rows; begin += kTilesMax * kTokens) {
    Rows some_x = x, some_out = out;
    some_x.data += begin * x.stride;
    some_out.data += begin * out.stride;
    some_x.num_rows = x.num_rows - begin < kTilesMax * kTokens ? x.num_rows - begin : kTilesMax * kTokens;
    const dim3 grid(OutputBlocks(weight.rows), static_cast<unsigned>((some_x.num_rows + kTokens - 1) / kTokens));
    Launch(MatMulKernel<T, kTokens>, grid, kThreads, 0, stream, some_x, weight, bias, some_out);
  }
}

}  // namespace

void LaunchMatMul(const Rows& x, const WeightMatrix& weight, const float* bias, const Rows& out, Stream stream) {
  DispatchStored(weight.dtype, [&](auto element) {
    using T = decltype(element);
    if (x.num_rows == 1) return LaunchTile<T, 1>(x, weight, bias, out, stream);
    if (x.num_rows == 2) return LaunchTile<T, 2>(x, weight, bias, out, stream);
    if (x.num_rows <= 4) return LaunchTile<T, 4>(x, weight, bias, out, stream);
    LaunchTile<T, 8>(x, weight, bias, out, stream);
  });
}

void LaunchExpertMatMul(const Rows& x, const ExpertCall& call, const Rows& out, Stream stream) {
  const dim3 grid(OutputBlocks(call.shape.rows), static_cast<unsigned>(call.num_experts));
  DispatchStored(call.shape.dtype, [&](auto element) {
    Launch(ExpertMatMulKernel<decltype(element), 4>, grid, kThreads, 0, stream, x, call, out);
  });
}

}  // namespace quire::kernels::cuda
