// Blocks of a few KiB stay in the first cache while all inputs are added to them.
#include "worker/comm/ordered_sum.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>

namespace quire::worker {
namespace {

constexpr int64_t kBlock = 1024;  // elements
constexpr int kDepthMax = 12;     // levels of the tree: 4,095 inputs

void Add(float* to, const float* from, int64_t n) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// One block of more than two inputs: a stack of sums, each over twice as many inputs as the one above it.
void SumBlock(const float* const* in, int num_inputs, int64_t begin, int64_t n, float* out) {
  alignas(64) float sums[kDepthMax][kBlock];
  int depth = 0;
  for (int r = 0; r < num_inputs; ++r) {
    std::memcpy(sums[depth++], in[r] + begin, n * sizeof(float));
    for (int done = r; (done & 1) != 0; done >>= 1, --depth) Add(sums[depth - 2], sums[depth - 1], n);
  }
  for (; depth > 1; --depth) Add(sums[depth - 2], sums[depth - 1], n);
  // Only now: `out` may be an input.
  std::memcpy(out + begin, sums[0], n * sizeof(float));
}

}  // namespace

void OrderedSum(const float* const* in, int num_inputs, float* out, int64_t count) {
  CHECK_LT(num_inputs, 1 << (kDepthMax - 1));
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    if (num_inputs == 1) {
      std::memmove(out + begin, in[0] + begin, n * sizeof(float));
    } else if (num_inputs ==
               2) {  // the common group: each element is read before it is written, so no detour is needed
      const float* a = in[0] + begin;
      const float* b = in[1] + begin;
      float* o = out + begin;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) o[i] = a[i] + b[i];
    } else {
      SumBlock(in, num_inputs, begin, n, out);
    }
  }
}

}  // namespace quire::worker
