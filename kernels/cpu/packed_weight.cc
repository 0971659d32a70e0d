#include "kernels/cpu/packed_weight.h"

#include <algorithm>
#include <type_traits>
#include <vector>

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

// Elements of `to` are `step` apart.
template <typename From, typename To>
void PackRow(const From* from, int64_t stride, int64_t steps, int64_t step, To* to) {
  for (int64_t k = 0; k < steps; ++k) {
    if constexpr (std::is_same_v<From, To>) {
      to[k * step] = from[k * stride];
    } else {
      to[k * step] = Narrow<To>(Widen(from[k * stride]));
    }
  }
}

// A group of panels from output `row` on, `width` outputs with the padding.
template <typename To>
void PackGroup(absl::Span<const TensorView> parts, int64_t row, int64_t width, int64_t cols, To* to) {
  std::vector<Source> sources(width);
  for (int64_t r = 0; r < width; ++r) sources[r] = FindRow(parts, row + r);
  for (int64_t k = 0; k < cols; k += kPackSteps) {
    const int64_t steps = std::min(kPackSteps, cols - k);
    for (int64_t r = 0; r < width; ++r) {
      const Source& s = sources[r];
      if (s.data == nullptr) continue;  // the buffer is zeroed
      Dispatch(s.dtype, [&](auto element) {
        const auto* from = reinterpret_cast<const decltype(element)*>(s.data) + k * s.stride;
        PackRow(from, s.stride, steps, width, to + k * width + r);
      });
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PackedWeight>> PackWeight(absl::Span<const TensorView> parts, DType stored,
                                                         int64_t group_panels, WeightMemory* memory, ThreadPool* pool) {
  int64_t rows = 0;
  for (const TensorView& part : parts) rows += part.dim(0);
  const int64_t cols = parts[0].dim(1);
  const int64_t num_panels = NumPanels(rows);
  const int64_t bytes = num_panels * kPanel * cols * DTypeBytes(stored);
  absl::StatusOr<std::shared_ptr<void>> panels = memory->Take(bytes);
  if (!panels.ok()) return panels.status();
  Dispatch(stored, [&](auto element) {
    auto* base = static_cast<decltype(element)*>(panels->get());
    const int64_t num_groups = (num_panels + group_panels - 1) / group_panels;
    pool->ParallelFor(num_groups, /*serial=*/false, [&](Range groups, int) {
      for (int64_t g = groups.begin; g < groups.end; ++g) {
        const int64_t panel = g * group_panels;
        PackGroup(parts, panel * kPanel, GroupSize(panel, num_panels, group_panels) * kPanel, cols,
                  base + PanelOffset(panel, cols, group_panels));
      }
    });
  });
  return std::make_unique<PackedWeight>(rows, cols, stored, bytes, *std::move(panels));
}

}  // namespace quire::kernels::cpu
