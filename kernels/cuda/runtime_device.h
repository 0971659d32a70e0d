// A device by the CUDA runtime.
#ifndef QUIRE_KERNELS_CUDA_RUNTIME_DEVICE_H_
#define QUIRE_KERNELS_CUDA_RUNTIME_DEVICE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/cuda/device.h"

namespace quire::kernels::cuda {

// With `managed` memory is the host's as well. Errors: as CreateCudaBackend.
absl::StatusOr<std::unique_ptr<Device>> OpenRuntimeDevice(int index, bool managed);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_RUNTIME_DEVICE_H_
