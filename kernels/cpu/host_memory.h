// Memory of the CPU backends: big zeroed buffers on huge pages where the kernel has them. Any thread.
#ifndef QUIRE_KERNELS_CPU_HOST_MEMORY_H_
#define QUIRE_KERNELS_CPU_HOST_MEMORY_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace quire::kernels::cpu {

// Zeroed memory, page aligned; its pages are taken when first touched. Errors: RESOURCE_EXHAUSTED with the bytes asked
// and free.
absl::StatusOr<std::unique_ptr<Buffer>> AllocateHost(int64_t bytes);

// Moves blocks between a cache in host memory and a pool (Backend::DoSwap).
void SwapHostBlocks(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
                    const Buffer& host);

// Memory that the system would give without swapping: MemAvailable, or what the cgroup leaves if that is less.
absl::StatusOr<int64_t> FreeHostBytes();

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_HOST_MEMORY_H_
