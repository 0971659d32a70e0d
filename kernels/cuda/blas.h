// Large products by a library: the seam between CudaBackend and cuBLASLt (cublaslt_blas.cc).
//
// Thread rule: as Backend.
#ifndef QUIRE_KERNELS_CUDA_BLAS_H_
#define QUIRE_KERNELS_CUDA_BLAS_H_

#include <cstdint>

#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

// out = x * weight^T + bias, summed in f32. x has the weight's type, rows x_pitch elements apart.
struct BlasCall {
  const void* x = nullptr;
  int64_t num_rows = 0;
  int64_t x_pitch = 0;
  WeightMatrix weight;
  const float* bias = nullptr;  // null = none
  float* out = nullptr;
  int64_t out_stride = 0;
};

class Blas {
 public:
  virtual ~Blas() = default;
  // Queues the product; false where the library cannot do it: nothing was queued then.
  virtual bool MatMul(const BlasCall& call, Stream stream) = 0;
};

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_BLAS_H_
