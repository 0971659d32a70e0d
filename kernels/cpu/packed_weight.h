// A weight in the layout of matmul_kernels.h, and its packing from views of any type and stride. Packing runs on the
// pool's threads.
#ifndef QUIRE_KERNELS_CPU_PACKED_WEIGHT_H_
#define QUIRE_KERNELS_CPU_PACKED_WEIGHT_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_memory.h"

namespace quire::kernels::cpu {

class PackedWeight final : public Weight {
 public:
  PackedWeight(int64_t rows, int64_t cols, DType dtype, int64_t bytes, std::shared_ptr<void> panels)
      : rows_(rows), cols_(cols), dtype_(dtype), bytes_(bytes), panels_(std::move(panels)) {}

  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  int64_t bytes() const override { return bytes_; }
  DType dtype() const { return dtype_; }
  const void* panels() const { return panels_.get(); }

 private:
  const int64_t rows_;
  const int64_t cols_;
  const DType dtype_;
  const int64_t bytes_;
  const std::shared_ptr<void> panels_;
};

// Packs the rows of `parts`, one below the other, for a kernel with this MatMulKernel::group_panels.
// Errors: RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<PackedWeight>> PackWeight(absl::Span<const TensorView> parts, DType stored,
                                                         int64_t group_panels, WeightMemory* memory, ThreadPool* pool);

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_PACKED_WEIGHT_H_
