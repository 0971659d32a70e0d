// Products by cuBLASLt, opened at run time: a program without a GPU neither needs nor loads it.
#ifndef QUIRE_KERNELS_CUDA_CUBLASLT_BLAS_H_
#define QUIRE_KERNELS_CUDA_CUBLASLT_BLAS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda {

// Takes its workspace from the device, which must outlive it. Errors: NOT_FOUND the library or a function of it, in the
// loader's words; RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<Blas>> OpenCublasLt(Device* device);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_CUBLASLT_BLAS_H_
