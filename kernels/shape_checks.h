// What the public operations of Backend ask of a view, in one place. Each CHECK-fails with the view and what it must be.
#ifndef QUIRE_KERNELS_SHAPE_CHECKS_H_
#define QUIRE_KERNELS_SHAPE_CHECKS_H_

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quire::kernels {

// Present, unless it has no elements, and of this many axes.
void CheckRank(const char* what, const TensorView& t, int rank);

// Rows of one type: contiguous in their last axes, maybe apart from each other.
void CheckRows(const char* what, const TensorView& t, DType dtype, int rank);

void CheckDim(const char* what, const TensorView& t, int axis, int64_t expected);

// [size] f32 without gaps.
void CheckVector(const char* what, const TensorView& t, int64_t size, bool optional);

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_SHAPE_CHECKS_H_
