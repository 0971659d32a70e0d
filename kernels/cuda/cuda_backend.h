// Backend on an NVIDIA GPU. CreateCudaBackend finds the device; MakeCudaBackend takes any Device, so that the tests run
// the same class and kernels on the emulator.
//
// Thread rule: as Backend. Work is queued; results are in host memory when an operation says so (CopyToHost, LogProbs,
// Sample) or after Synchronize, which also reports errors of queued work.
// Invariants:
//   CB1  Activations are f32, as on the CPU; sums are f32. Products of more than kExactRowsMax rows go to cuBLASLt with
//        their input rounded to the weight's type, unless the options say exact.
//   CB2  With `exact` B2 of Backend holds: a row's bits hang on nothing but the row. Without, they may hang on the
//        number of rows in the call, as cuBLASLt picks its order of sums by shape.
//   CB3  After an error of the device nothing more is computed; Synchronize tells it, for good.
#ifndef QUIRE_KERNELS_CUDA_CUDA_BACKEND_H_
#define QUIRE_KERNELS_CUDA_CUDA_BACKEND_H_

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace quire::kernels {

struct CudaBackendOptions {
  int device = 0;
  bool exact = false;     // batch-invariant products by own kernels: slower for many rows
  bool managed = false;   // memory that the host can read as well, for tests
  bool blocking = false;  // every operation waits for its kernels, so that an error names it
};

// Whether this program was built with the CUDA toolkit.
bool CudaIsBuilt();

// Errors: FAILED_PRECONDITION no driver or no device, in the runtime's words; UNIMPLEMENTED not built, or a device older
// than sm_80; NOT_FOUND no such device; RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaBackendOptions& options);

namespace cuda {

class Blas;
class Device;

inline constexpr int64_t kExactRowsMax = 8;

// `blas` may be null: all products are exact then.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options,
                                                         std::unique_ptr<Device> device, std::unique_ptr<Blas> blas);

}  // namespace cuda
}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_CUDA_CUDA_BACKEND_H_
