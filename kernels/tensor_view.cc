#include "kernels/tensor_view.h"

#include <glog/logging.h>

#include <initializer_list>

#include "absl/strings/str_cat.h"

namespace quire::kernels {

const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kF16:
      return "float16";
    case DType::kBF16:
      return "bfloat16";
    case DType::kI32:
      return "int32";
  }
  return "unknown";
}

int64_t TensorView::num_elements() const {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) n *= shape[i];
  return n;
}

bool TensorView::contiguous() const {
  int64_t expected = 1;
  for (int i = rank - 1; i >= 0; --i) {
    if (shape[i] != 1 && stride[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::string TensorView::ToString() const {
  std::string out = absl::StrCat(DTypeName(dtype), "[");
  for (int i = 0; i < rank; ++i) absl::StrAppend(&out, i == 0 ? "" : ",", shape[i]);
  return absl::StrCat(out, "]", empty() ? " (absent)" : "");
}

TensorView MakeView(void* data, DType dtype, std::initializer_list<int64_t> shape) {
  CHECK_GE(shape.size(), 1u);
  CHECK_LE(shape.size(), static_cast<size_t>(TensorView::kMaxRank));
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  for (int64_t extent : shape) {
    CHECK_GE(extent, 0);
    view.shape[view.rank++] = extent;
  }
  int64_t step = 1;
  for (int i = view.rank - 1; i >= 0; --i) {
    view.stride[i] = step;
    step *= view.shape[i];
  }
  return view;
}

namespace {

TensorView Slice(const TensorView& t, int axis, int64_t begin, int64_t count) {
  CHECK_GE(begin, 0);
  CHECK_GE(count, 0);
  CHECK_LE(begin + count, t.shape[axis]) << "slice [" << begin << ", " << begin + count << ") of " << t.ToString();
  TensorView view = t;
  view.data = static_cast<char*>(t.data) + begin * t.stride[axis] * DTypeBytes(t.dtype);
  view.shape[axis] = count;
  return view;
}

}  // namespace

TensorView SliceRows(const TensorView& t, int64_t begin, int64_t count) { return Slice(t, 0, begin, count); }

TensorView SliceCols(const TensorView& t, int64_t begin, int64_t count) { return Slice(t, t.rank - 1, begin, count); }

TensorView Transpose(const TensorView& t) {
  CHECK_EQ(t.rank, 2) << t.ToString();
  TensorView view = t;
  std::swap(view.shape[0], view.shape[1]);
  std::swap(view.stride[0], view.stride[1]);
  return view;
}

}  // namespace quire::kernels
