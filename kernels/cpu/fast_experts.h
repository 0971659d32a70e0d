// The products and sums of a mixture of experts on all threads. Owned by FastBackend; one caller thread.
//
// Invariants:
//   X1  Threads share out panels of the experts' weights, weighed by the rows that each expert has: a step of one
//       sequence uses all threads, and a weight is read once, by the thread that computes with it.
#ifndef QUIRE_KERNELS_CPU_FAST_EXPERTS_H_
#define QUIRE_KERNELS_CPU_FAST_EXPERTS_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace quire::kernels::cpu {

// Floats of a thread's own, as FastBackend keeps them.
using ScratchOf = absl::FunctionRef<float*(int thread, int64_t floats)>;

void ExpertMatMulOn(const TensorView& x, absl::Span<const Weight* const> experts, const TensorView& row_start,
                    const TensorView& row_token, const TensorView& out, const MatMulKernel& matmul, ThreadPool* pool,
                    ScratchOf scratch);

void CombineExpertsOn(const TensorView& rows, const ExpertRouting& routing, int64_t num_experts,
                      const TensorView& extra, int64_t extra_quarter, const TensorView& out, const RowKernels& kernels,
                      ThreadPool* pool);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_FAST_EXPERTS_H_
