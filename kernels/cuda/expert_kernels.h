// Mixture of experts on the device: which experts a token goes to, where its rows lie, and their sum (expert_ops.h).
// The product of rows and experts is in matmul_kernels.h.
#ifndef QUIRE_KERNELS_CUDA_EXPERT_KERNELS_H_
#define QUIRE_KERNELS_CUDA_EXPERT_KERNELS_H_

#include <cstdint>

#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/stream.h"
#include "kernels/expert_ops.h"

namespace quire::kernels::cuda {

// ExpertRouting as the kernels see it.
struct RoutingArrays {
  int32_t* ids = nullptr;
  int64_t ids_stride = 0;
  float* weights = nullptr;
  int64_t weights_stride = 0;
  int32_t* rows = nullptr;
  int64_t rows_stride = 0;
  int32_t* row_token = nullptr;
  int32_t* row_start = nullptr;
  int64_t num_tokens = 0;
  int64_t num_chosen = 0;
};

RoutingArrays ArraysOf(const ExpertRouting& routing);

// Fills the whole routing.
void LaunchRoute(const Rows& logits, const RouteParams& params, const RoutingArrays& routing, Stream stream);

struct CombineCall {
  Rows rows;
  RoutingArrays routing;
  int64_t num_experts = 0;
  const float* extra = nullptr;  // null = none
  int64_t extra_stride = 0;
  int64_t extra_quarter = 0;
  Rows out;
};

void LaunchCombine(const CombineCall& call, Stream stream);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_EXPERT_KERNELS_H_
