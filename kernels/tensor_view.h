// A tensor that somebody else owns: pointer, type, shape, strides. Leaf of kernels/; plain data, any thread.
#ifndef QUIRE_KERNELS_TENSOR_VIEW_H_
#define QUIRE_KERNELS_TENSOR_VIEW_H_

#include <array>
#include <cstdint>
#include <string>

namespace quire::kernels {

enum class DType : uint8_t { kF32, kF16, kBF16, kI32 };

// Size of one element, in bytes.
inline int64_t DTypeBytes(DType dtype) { return dtype == DType::kF32 || dtype == DType::kI32 ? 4 : 2; }

// Name as in a checkpoint's config: "float32", "float16", "bfloat16", "int32".
const char* DTypeName(DType dtype);

struct TensorView {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;  // null = absent (an optional operand)
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<int64_t, kMaxRank> shape{};   // elements; [0, rank) used
  std::array<int64_t, kMaxRank> stride{};  // elements between neighbours of an axis

  bool empty() const { return data == nullptr; }
  int64_t dim(int axis) const { return shape[axis]; }
  int64_t num_elements() const;
  // True iff the elements lie in row-major order without gaps.
  bool contiguous() const;
  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  // "bfloat16[3,64]", for messages.
  std::string ToString() const;
};

// Row-major view without gaps. Requires: 1 to 4 axes.
TensorView MakeView(void* data, DType dtype, std::initializer_list<int64_t> shape);

// Rows [begin, begin + count) of the first axis.
TensorView SliceRows(const TensorView& t, int64_t begin, int64_t count);

// Columns [begin, begin + count) of the last axis; keeps the strides.
TensorView SliceCols(const TensorView& t, int64_t begin, int64_t count);

// A rank-2 view with its axes exchanged (a GPT-2 Conv1D weight [in, out] seen as [out, in]).
TensorView Transpose(const TensorView& t);

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_TENSOR_VIEW_H_
