// CreateCudaBackend of a program built without the CUDA toolkit.
#include "kernels/cuda/cuda_backend.h"

namespace quire::kernels {

bool CudaIsBuilt() { return false; }

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaBackendOptions& /*options*/) {
  return absl::UnimplementedError("this program was built without CUDA: build it where the CUDA toolkit is installed");
}

}  // namespace quire::kernels
