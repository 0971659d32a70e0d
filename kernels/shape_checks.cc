#include "kernels/shape_checks.h"

#include <glog/logging.h>

namespace quire::kernels {

void CheckRank(const char* what, const TensorView& t, int rank) {
  CHECK(!t.empty() || t.num_elements() == 0) << what << " is absent: " << t.ToString();
  CHECK_EQ(t.rank, rank) << what << " " << t.ToString();
}

void CheckRows(const char* what, const TensorView& t, DType dtype, int rank) {
  CheckRank(what, t, rank);
  CHECK(t.dtype == dtype) << what << " " << t.ToString() << " must be " << DTypeName(dtype);
  int64_t step = 1;
  for (int i = rank - 1; i >= 1; --i) {
    CHECK(t.shape[i] <= 1 || t.stride[i] == step)
        << what << " " << t.ToString() << ": stride of axis " << i << " is " << t.stride[i] << ", must be " << step;
    step *= t.shape[i];
  }
  CHECK(t.shape[0] <= 1 || t.stride[0] >= step)
      << what << " " << t.ToString() << ": rows of " << step << " elements overlap, stride " << t.stride[0];
}

void CheckDim(const char* what, const TensorView& t, int axis, int64_t expected) {
  CHECK_EQ(t.shape[axis], expected) << what << " " << t.ToString() << ", axis " << axis;
}

void CheckVector(const char* what, const TensorView& t, int64_t size, bool optional) {
  if (optional && t.empty()) return;
  CheckRank(what, t, 1);
  CHECK(t.dtype == DType::kF32) << what << " " << t.ToString() << " must be float32";
  CheckDim(what, t, 0, size);
  CHECK(size <= 1 || t.stride[0] == 1) << what << " has stride " << t.stride[0] << ", must be 1";
}

}  // namespace quire::kernels
