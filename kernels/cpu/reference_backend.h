// The readable CPU backend: one loop nest per operation, f32 sums in index order. The oracle that fast kernels are
// tested against.
#ifndef QUIRE_KERNELS_CPU_REFERENCE_BACKEND_H_
#define QUIRE_KERNELS_CPU_REFERENCE_BACKEND_H_

#include <memory>

#include "kernels/backend.h"

namespace quire::kernels::cpu {

std::unique_ptr<Backend> CreateReferenceBackend();

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_REFERENCE_BACKEND_H_
