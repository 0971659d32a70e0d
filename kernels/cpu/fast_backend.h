// The fast CPU backend: vector kernels of one instruction set over one thread pool.
//
// Thread rule: one caller thread; every operation is a fork-join over the pool (thread_pool.h).
// Invariants:
//   F1  Which thread computes a row, panel or chunk never changes its bits (B2): threads share nothing but inputs.
#ifndef QUIRE_KERNELS_CPU_FAST_BACKEND_H_
#define QUIRE_KERNELS_CPU_FAST_BACKEND_H_

#include <memory>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

namespace quire::kernels::cpu {

// Requires: num_threads >= 1, isa from SupportedIsas().
std::unique_ptr<Backend> CreateFastBackend(int num_threads, const Isa& isa);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_FAST_BACKEND_H_
