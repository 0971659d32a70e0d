// How many elements of a float tensor are zero: what pruning leaves. Pure; any thread.
#ifndef QUIRE_WORKER_MODEL_ZERO_COUNT_H_
#define QUIRE_WORKER_MODEL_ZERO_COUNT_H_

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quire::worker {

// Elements that are 0 or -0. Shares the rows out over the processors. Cost: one read of the tensor.
// Requires: a float type, 1 to 4 axes, any strides.
int64_t CountZeros(const kernels::TensorView& view);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_ZERO_COUNT_H_
