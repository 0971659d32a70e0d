// The CUDA backend under test on the machine's GPU, with memory that the tests can read.
#include <cuda_runtime_api.h>
#include <glog/logging.h>

#include "kernels/conformance.h"
#include "kernels/cuda/cuda_backend.h"

namespace quire::kernels {
namespace {

absl::StatusOr<std::unique_ptr<Backend>> MakeOnGpu(bool exact) {
  CudaBackendOptions options;
  options.exact = exact;
  options.managed = true;
  options.blocking = true;
  return CreateCudaBackend(options);
}

}  // namespace

std::vector<BackendUnderTest> BackendsUnderTest() {
  return {{"gpu_exact", [] { return MakeOnGpu(true); }, false}, {"gpu", [] { return MakeOnGpu(false); }, true}};
}

void* AllocateShared(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t error = cudaMallocManaged(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1), cudaMemAttachGlobal);
  CHECK(error == cudaSuccess) << "these tests need a GPU: " << cudaGetErrorString(error);
  return memory;
}

void FreeShared(void* memory) { CHECK(cudaFree(memory) == cudaSuccess); }

}  // namespace quire::kernels
