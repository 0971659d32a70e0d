// The CUDA backend under test on the emulator: its own code and kernels, no GPU.
#include <cstdlib>
#include <new>

#include "kernels/conformance.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/emulator/emulated_device.h"

namespace quire::kernels {
namespace {

absl::StatusOr<std::unique_ptr<Backend>> MakeEmulated(bool exact) {
  CudaBackendOptions options;
  options.exact = exact;
  options.blocking = true;
  return cuda::MakeCudaBackend(options, std::make_unique<cuda::emulator::EmulatedDevice>(int64_t{8} << 30),
                               std::make_unique<cuda::emulator::EmulatedBlas>());
}

}  // namespace

std::vector<BackendUnderTest> BackendsUnderTest() {
  return {{"emulated_exact", [] { return MakeEmulated(true); }, false},
          {"emulated", [] { return MakeEmulated(false); }, true}};
}

void* AllocateShared(int64_t bytes) { return ::operator new(bytes); }

void FreeShared(void* memory) { ::operator delete(memory); }

}  // namespace quire::kernels
