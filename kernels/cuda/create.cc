// CreateCudaBackend of a program built with the CUDA toolkit.
#include "kernels/cuda/cublaslt_blas.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/runtime_device.h"

namespace quire::kernels {

bool CudaIsBuilt() { return true; }

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaBackendOptions& options) {
  absl::StatusOr<std::unique_ptr<cuda::Device>> device = cuda::OpenRuntimeDevice(options.device, options.managed);
  if (!device.ok()) return device.status();
  std::unique_ptr<cuda::Blas> blas;
  if (!options.exact) {
    absl::StatusOr<std::unique_ptr<cuda::Blas>> opened = cuda::OpenCublasLt(device->get());
    if (!opened.ok()) return opened.status();
    blas = *std::move(opened);
  }
  return cuda::MakeCudaBackend(options, *std::move(device), std::move(blas));
}

}  // namespace quire::kernels
