#include "worker/model/zero_count.h"

#include <atomic>

#include "kernels/half.h"
#include "worker/loader/parallel_shares.h"

namespace quire::worker {
namespace {

// Of one run of elements. Integers: compilers turn this loop into vectors.
template <typename Bits>
int64_t CountRun(const Bits* data, int64_t count, int64_t stride) {
  constexpr Bits kMagnitude = static_cast<Bits>(~Bits{0}) >> 1;
  int64_t zeros = 0;
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) zeros += (data[i] & kMagnitude) == 0;
  } else {
    for (int64_t i = 0; i < count; ++i) zeros += (data[i * stride] & kMagnitude) == 0;
  }
  return zeros;
}

}  // namespace

int64_t CountZeros(const kernels::TensorView& view) {
  const int64_t last = view.dim(view.rank - 1), num_runs = last == 0 ? 0 : view.num_elements() / last;
  std::atomic<int64_t> zeros{0};
  ForShares(num_runs, last, [&](int64_t begin, int64_t end) {
    int64_t share = 0;
    for (int64_t run = begin; run < end; ++run) {
      int64_t rest = run, at = 0;
      for (int axis = view.rank - 2; axis >= 0; --axis) {
        at += rest % view.dim(axis) * view.stride[axis];
        rest /= view.dim(axis);
      }
      const int64_t stride = view.stride[view.rank - 1];
      share += kernels::DTypeBytes(view.dtype) == 4 ? CountRun(view.as<uint32_t>() + at, last, stride)
                                                    : CountRun(view.as<uint16_t>() + at, last, stride);
    }
    zeros += share;
  });
  return zeros;
}

}  // namespace quire::worker
