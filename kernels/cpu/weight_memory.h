// Memory of packed weights: small ones share slabs, so that all of them lie on huge pages. A stream over 4 KiB pages
// stops the hardware's prefetch at each page and reads at three quarters of the rate; every matrix of a layer of a small
// model is too small for huge pages of its own.
//
// Thread rule: one thread calls Take; pieces may be freed on any thread.
// Invariants:
//   W1  Bytes of a slab are handed out once: a piece starts zeroed.
//   W2  A slab is freed with its last piece; this object keeps none alive.
#ifndef QUIRE_KERNELS_CPU_WEIGHT_MEMORY_H_
#define QUIRE_KERNELS_CPU_WEIGHT_MEMORY_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace quire::kernels::cpu {

class WeightMemory {
 public:
  static constexpr int64_t kSlabBytes = int64_t{32} << 20;
  static constexpr int64_t kOwnBytes = kSlabBytes / 4;  // from here on a weight gets memory of its own

  // `bytes` zeroed bytes, aligned to kAlign. Errors: RESOURCE_EXHAUSTED.
  absl::StatusOr<std::shared_ptr<void>> Take(int64_t bytes);

  static constexpr int64_t kAlign = 128;

 private:
  std::weak_ptr<void> slab_;
  int64_t used_ = 0;  // of slab_
};

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_WEIGHT_MEMORY_H_
