// Blocks of a few KiB stay in the first cache while all inputs are added to them.
#include "worker/comm/ordered_sum.h"

#include <algorithm>
#include <cstring>

namespace quire::worker {
namespace {

constexpr int64_t kBlock = 1024;  // elements

}  // namespace

void OrderedSum(const float* const* in, int num_inputs, float* out, int64_t count) {
  // `out` may be an input that comes late in the order, so the sum is formed beside it.
  alignas(64) float sum[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    if (num_inputs == 1) {
      std::memmove(out + begin, in[0] + begin, n * sizeof(float));
      continue;
    }
    const float* a = in[0] + begin;
    const float* b = in[1] + begin;
    if (num_inputs == 2) {  // the common group: each element is read before it is written, so no detour is needed
      float* o = out + begin;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) o[i] = a[i] + b[i];
      continue;
    }
    for (int64_t i = 0; i < n; ++i) sum[i] = a[i] + b[i];
    for (int r = 2; r < num_inputs; ++r) {
      const float* c = in[r] + begin;
      for (int64_t i = 0; i < n; ++i) sum[i] += c[i];
    }
    std::memcpy(out + begin, sum, n * sizeof(float));
  }
}

}  // namespace quire::worker
