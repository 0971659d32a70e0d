#include "kernels/cpu/packed_weight.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/half.h"

namespace quire::kernels::cpu {
namespace {

// k steps packed at a time: one row's piece fills a few cache lines and the panel's piece stays in the first-level
// cache.
constexpr int64_t kPackSteps = 64;

// Where one output row of a panel comes from.
struct Source {
  const char* data = nullptr;  // null = padding
  DType dtype = DType::kF32;
  int64_t stride = 0;  // elements between neighbours in k
};

Source FindRow(absl::Span<const TensorView> parts, int64_t row) {
  for (const TensorView& part : parts) {
    if (row < part.dim(0)) {
      return {part.as<char>() + row * part.stride[0] * DTypeBytes(part.dtype), part.dtype, part.stride[1]};
    }
    row -= part.dim(0);
  }
  return {};
}

template <typename From, typename To>
void PackRow(const From* from, int64_t stride, int64_t steps, To* to) {
  for (int64_t k = 0; k < steps; ++k) {
    if constexpr (std::is_same_v<From, To>) {
      to[k * kPanel] = from[k * stride];
    } else {
      to[k * kPanel] = Narrow<To>(Widen(from[k * stride]));
    }
  }
}

template <typename To>
void PackPanel(absl::Span<const TensorView> parts, int64_t panel, int64_t cols, To* to) {
  Source sources[kPanel];
  for (int64_t r = 0; r < kPanel; ++r) sources[r] = FindRow(parts, panel * kPanel + r);
  for (int64_t k = 0; k < cols; k += kPackSteps) {
    const int64_t steps = std::min(kPackSteps, cols - k);
    for (int64_t r = 0; r < kPanel; ++r) {
      const Source& s = sources[r];
      if (s.data == nullptr) continue;  // the buffer is zeroed
      Dispatch(s.dtype, [&](auto element) {
        const auto* from = reinterpret_cast<const decltype(element)*>(s.data) + k * s.stride;
        PackRow(from, s.stride, steps, to + k * kPanel + r);
      });
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedWeight>> PackWeight(absl::Span<const TensorView> parts, DType stored,
                                                         ThreadPool* pool) {
  int64_t rows = 0;
  for (const TensorView& part : parts) rows += part.dim(0);
  const int64_t cols = parts[0].dim(1);
  const int64_t num_panels = (rows + kPanel - 1) / kPanel;
  absl::StatusOr<std::unique_ptr<Buffer>> memory = AllocateHost(num_panels * kPanel * cols * DTypeBytes(stored));
  if (!memory.ok()) return memory.status();
  Dispatch(stored, [&](auto element) {
    auto* base = static_cast<decltype(element)*>((*memory)->data());
    pool->ParallelFor(num_panels, /*serial=*/false, [&](Range panels, int) {
      for (int64_t p = panels.begin; p < panels.end; ++p) PackPanel(parts, p, cols, base + p * cols * kPanel);
    });
  });
  return std::make_unique<PackedWeight>(rows, cols, stored, *std::move(memory));
}

}  // namespace quire::kernels::cpu
