// What the conformance tests share: the backends under test and tensors with guard bytes around every row. Test code.
#ifndef QUIRE_KERNELS_CONFORMANCE_H_
#define QUIRE_KERNELS_CONFORMANCE_H_

#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/half.h"

namespace quire::kernels {

// A backend that the tests are run with. Which there are is decided by what a test is linked with: conformance_cpu.cc
// here, conformance_emulated.cc and conformance_gpu.cc in cuda/.
struct BackendUnderTest {
  std::string label;
  std::function<absl::StatusOr<std::unique_ptr<Backend>>()> make;
  // Products may round their input to the weight's type, and B2 does not hold for them.
  bool rounds_inputs = false;
};

std::vector<BackendUnderTest> BackendsUnderTest();

// Memory that both the tests and the backends read and write.
void* AllocateShared(int64_t bytes);
void FreeShared(void* memory);

template <typename T>
struct SharedAllocator {
  using value_type = T;
  SharedAllocator() = default;
  template <typename U>
  SharedAllocator(const SharedAllocator<U>& /*other*/) {}
  T* allocate(size_t n) { return static_cast<T*>(AllocateShared(static_cast<int64_t>(n * sizeof(T)))); }
  void deallocate(T* memory, size_t /*n*/) { FreeShared(memory); }
  bool operator==(const SharedAllocator& /*other*/) const { return true; }
  bool operator!=(const SharedAllocator& /*other*/) const { return false; }
};

// For operands of a backend that are no Guarded.
template <typename T>
using SharedVector = std::vector<T, SharedAllocator<T>>;

inline void PrintTo(const BackendUnderTest& backend, std::ostream* out) { *out << backend.label; }

inline std::string BackendLabel(const testing::TestParamInfo<BackendUnderTest>& info) { return info.param.label; }

class ConformanceTest : public testing::TestWithParam<BackendUnderTest> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Backend>> made = GetParam().make();
    ASSERT_TRUE(made.ok()) << made.status();
    backend_ = *std::move(made);
  }
  void TearDown() override {
    if (backend_ == nullptr) return;
    const absl::Status status = backend_->Synchronize();
    EXPECT_TRUE(status.ok()) << status;
  }

  // Of a product's answer to the exact one, relative to 1 + its size.
  double ProductTolerance(DType stored) const {
    if (!GetParam().rounds_inputs || stored == DType::kF32) return 1e-5;
    return stored == DType::kF16 ? 4e-3 : 3e-2;
  }

  std::unique_ptr<Backend> backend_;
};

// Of operations in which a backend that rounds the inputs of products is like the one that does not: once is enough.
class ExactConformanceTest : public ConformanceTest {
 protected:
  void SetUp() override {
    if (GetParam().rounds_inputs) GTEST_SKIP() << "the same as without rounding";
    ConformanceTest::SetUp();
  }
};

// A tensor whose rows are apart and stand between guard bytes. Values are those of the stored type.
class Guarded {
 public:
  // Shapes: [rows, inner...]; `gap` elements between rows.
  Guarded(DType dtype, std::vector<int64_t> shape, int64_t gap = 5) : dtype_(dtype) {
    int64_t width = 1;
    view_.dtype = dtype;
    view_.rank = static_cast<int>(shape.size());
    for (int i = view_.rank - 1; i >= 0; --i) {
      view_.shape[i] = shape[i];
      view_.stride[i] = width;
      width = i > 0 ? width * shape[i] : width;
    }
    row_width_ = width;
    view_.stride[0] = width + gap;
    bytes_.assign((kGuard * 2 + shape[0] * view_.stride[0]) * DTypeBytes(dtype), kPattern);
    view_.data = bytes_.data() + kGuard * DTypeBytes(dtype);
  }

  // A view points into its tensor: moving keeps the memory, copying would not.
  Guarded(Guarded&&) = default;
  Guarded& operator=(Guarded&&) = default;

  const TensorView& view() const { return view_; }
  int64_t width() const { return row_width_; }
  float at(int64_t row, int64_t column) const {
    return Dispatch(dtype_, [&](auto e) { return Widen(view_.as<decltype(e)>()[row * view_.stride[0] + column]); });
  }
  void set(int64_t row, int64_t column, float value) {
    Dispatch(dtype_,
             [&](auto e) { view_.as<decltype(e)>()[row * view_.stride[0] + column] = Narrow<decltype(e)>(value); });
  }
  Guarded& Randomize(uint32_t seed, float scale = 1.0f) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0.0f, scale);
    for (int64_t r = 0; r < view_.shape[0]; ++r) {
      for (int64_t c = 0; c < row_width_; ++c) set(r, c, normal(rng));
    }
    return *this;
  }
  // One row's bytes, for comparisons of bits.
  std::string row_bytes(int64_t row) const {
    const int64_t size = DTypeBytes(dtype_);
    return std::string(static_cast<const char*>(view_.data) + row * view_.stride[0] * size, row_width_ * size);
  }
  void ExpectGuardsIntact() const {
    const int64_t size = DTypeBytes(dtype_);
    const int64_t rows = view_.shape[0];
    const int64_t elements = static_cast<int64_t>(bytes_.size()) / size;
    for (int64_t i = 0; i < elements; ++i) {
      const int64_t p = i - kGuard;
      const bool inside = p >= 0 && p < rows * view_.stride[0] && p % view_.stride[0] < row_width_;
      if (inside) continue;
      for (int64_t b = 0; b < size; ++b) {
        ASSERT_EQ(bytes_[i * size + b], kPattern) << view_.ToString() << ": guard element " << p << " was written";
      }
    }
  }

 private:
  static constexpr int64_t kGuard = 67;  // elements; odd, so that no row is aligned
  static constexpr char kPattern = 0x5a;
  DType dtype_;
  TensorView view_;
  int64_t row_width_ = 0;
  SharedVector<char> bytes_;
};

// Distance allowed to the double-precision answer: absolute + relative.
inline void ExpectClose(double expected, float got, double tolerance, const std::string& where) {
  ASSERT_NEAR(expected, got, tolerance * (1.0 + std::abs(expected))) << where;
}

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_CONFORMANCE_H_
