// Routing in four small kernels: a token's choice by one thread, an expert's count by one block, the starts by one
// thread, the rows of an expert by one block. Small beside the products that follow.
#include "kernels/cuda/expert_kernels.h"
#include "kernels/cuda/warp.cuh"

namespace quire::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// As ChooseExperts of cpu/expert_routing.cc: insertion into the best so far, equal ones stay behind.
__device__ void ChooseExperts(const float* logits, int64_t num_experts, int64_t num_chosen, bool renormalize,
                              int32_t* ids, float* weights) {
  float max = logits[0];
  for (int64_t e = 1; e < num_experts; ++e) max = logits[e] > max ? logits[e] : max;
  float sum = 0.0f;
  for (int64_t e = 0; e < num_experts; ++e) sum += expf(logits[e] - max);
  int64_t num_found = 0;
  for (int64_t e = 0; e < num_experts; ++e) {
    const float probability = expf(logits[e] - max) / sum;
    int64_t at = num_found;
    while (at > 0 && probability > weights[at - 1]) --at;
    if (at >= num_chosen) continue;
    if (num_found < num_chosen) ++num_found;
    for (int64_t i = num_found - 1; i > at; --i) {
      weights[i] = weights[i - 1];
      ids[i] = ids[i - 1];
    }
    weights[at] = probability;
    ids[at] = static_cast<int32_t>(e);
  }
  if (renormalize) {
    float chosen = 0.0f;
    for (int64_t i = 0; i < num_chosen; ++i) chosen += weights[i];
    for (int64_t i = 0; i < num_chosen; ++i) weights[i] /= chosen;
  }
  for (int64_t i = 1; i < num_chosen; ++i) {
    for (int64_t j = i; j > 0 && ids[j] < ids[j - 1]; --j) {
      const int32_t id = ids[j];
      ids[j] = ids[j - 1];
      ids[j - 1] = id;
      const float weight = weights[j];
      weights[j] = weights[j - 1];
      weights[j - 1] = weight;
    }
  }
}

__global__ void ChooseKernel(Rows logits, bool renormalize, RoutingArrays routing) {
  const int64_t t = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= routing.num_tokens) return;
  int32_t* rows = routing.rows + t * routing.rows_stride;
  for (int64_t i = 0; i < routing.num_chosen; ++i) rows[i] = -1;  // AssignKernel fills those that are here
  ChooseExperts(logits.data + t * logits.stride, logits.width, routing.num_chosen, renormalize,
                routing.ids + t * routing.ids_stride, routing.weights + t * routing.weights_stride);
}

// The pick of `expert` by token t, or -1.
__device__ __forceinline__ int64_t PickOf(const RoutingArrays& routing, int64_t t, int64_t expert) {
  if (t >= routing.num_tokens) return -1;
  const int32_t* ids = routing.ids + t * routing.ids_stride;
  for (int64_t i = 0; i < routing.num_chosen; ++i) {
    if (ids[i] == expert) return i;
  }
  return -1;
}

__global__ void __launch_bounds__(kThreads) CountKernel(int64_t first_expert, RoutingArrays routing) {
  int32_t count = 0;
  for (int64_t t = threadIdx.x; t < routing.num_tokens; t += kThreads) {
    count += PickOf(routing, t, first_expert + blockIdx.x) >= 0;
  }
  count = BlockSum(count);
  if (threadIdx.x == 0) routing.row_start[blockIdx.x + 1] = count;
}

__global__ void StartKernel(int64_t num_local, RoutingArrays routing) {
  if (threadIdx.x != 0) return;
  int32_t sum = 0;
  routing.row_start[0] = 0;
  for (int64_t e = 1; e <= num_local; ++e) {
    sum += routing.row_start[e];
    routing.row_start[e] = sum;
  }
}

__global__ void __launch_bounds__(kThreads) AssignKernel(int64_t first_expert, RoutingArrays routing) {
  __shared__ int32_t totals[kWarps];
  int32_t next = routing.row_start[blockIdx.x];
  for (int64_t begin = 0; begin < routing.num_tokens; begin += kThreads) {
    const int64_t t = begin + threadIdx.x;
    const int64_t pick = PickOf(routing, t, first_expert + blockIdx.x);
    // Tokens in ascending order: how many of this tile come before.
    int32_t rank = pick >= 0 ? 1 : 0;
    for (int step = 1; step < kWarp; step *= 2) {
      const int32_t other = __shfl_up_sync(kAllLanes, rank, static_cast<unsigned>(step));
      if (Lane() >= step) rank += other;
    }
    __syncthreads();
    if (Lane() == kWarp - 1) totals[WarpIndex()] = rank;
    __syncthreads();
    int32_t before = 0, all = 0;
    for (int w = 0; w < kWarps; ++w) {
      before += w < WarpIndex() ? totals[w] : 0;
      all += totals[w];
    }
    if (pick >= 0) {
      const int32_t row = next + before + rank - 1;
      routing.rows[t * routing.rows_stride + pick] = row;
      routing.row_token[row] = static_cast<int32_t>(t);
    }
    next += all;
  }
}

__global__ void CombineKernel(CombineCall call) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (c >= call.out.width) return;
  for (int64_t t = blockIdx.y; t < call.out.num_rows; t += gridDim.y) {
    const int32_t* ids = call.routing.ids + t * call.routing.ids_stride;
    const int32_t* rows = call.routing.rows + t * call.routing.rows_stride;
    const float* weights = call.routing.weights + t * call.routing.weights_stride;
    float sums[kExpertQuarters];
#pragma unroll
    for (int64_t q = 0; q < kExpertQuarters; ++q) {
      const int64_t begin = call.num_experts * q / kExpertQuarters, end = call.num_experts * (q + 1) / kExpertQuarters;
      float sum = 0.0f;
      for (int64_t i = 0; i < call.routing.num_chosen; ++i) {
        if (ids[i] < begin || ids[i] >= end || rows[i] < 0) continue;
        sum = fmaf(weights[i], call.rows.data[rows[i] * call.rows.stride + c], sum);
      }
      if (call.extra != nullptr && call.extra_quarter == q) sum += call.extra[t * call.extra_stride + c];
      sums[q] = sum;
    }
    call.out.data[t * call.out.stride + c] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  }
}

unsigned Blocks(int64_t n) { return static_cast<unsigned>((n + kThreads - 1) / kThreads); }

}  // namespace

RoutingArrays ArraysOf(const ExpertRouting& routing) {
  RoutingArrays arrays;
  arrays.ids = routing.ids.as<int32_t>();
  arrays.ids_stride = routing.ids.stride[0];
  arrays.weights = routing.weights.as<float>();
  arrays.weights_stride = routing.weights.stride[0];
  arrays.rows = routing.rows.as<int32_t>();
  arrays.rows_stride = routing.rows.stride[0];
  arrays.row_token = routing.row_token.as<int32_t>();
  arrays.row_start = routing.row_start.as<int32_t>();
  arrays.num_tokens = routing.ids.dim(0);
  arrays.num_chosen = routing.ids.dim(1);
  return arrays;
}

void LaunchRoute(const Rows& logits, const RouteParams& params, const RoutingArrays& routing, Stream stream) {
  const dim3 experts(static_cast<unsigned>(params.num_local));
  Launch(ChooseKernel, dim3(Blocks(routing.num_tokens)), kThreads, 0, stream, logits, params.renormalize, routing);
  Launch(CountKernel, experts, kThreads, 0, stream, params.first_expert, routing);
  Launch(StartKernel, dim3(1), kWarp, 0, stream, params.num_local, routing);
  Launch(AssignKernel, experts, kThreads, 0, stream, params.first_expert, routing);
}

void LaunchCombine(const CombineCall& call, Stream stream) {
  const int64_t rows = call.out.num_rows < 32768 ? call.out.num_rows : 32768;
  Launch(CombineKernel, dim3(Blocks(call.out.width), static_cast<unsigned>(rows)), kThreads, 0, stream, call);
}

}  // namespace quire::kernels::cuda
