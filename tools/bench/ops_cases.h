// The operations that tools/bench:ops times: every op of the decoder at the shapes of two public model sizes.
#ifndef QUIRE_TOOLS_BENCH_OPS_CASES_H_
#define QUIRE_TOOLS_BENCH_OPS_CASES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace quire::bench {

// One row of the table. `prepare` makes the operands and returns the call to time; operands live as long as the call.
struct OpCase {
  std::string name;  // "matmul/1B/gate_up/batch16"
  double bytes = 0;  // that one call must read and write at least
  double flops = 0;
  std::function<std::function<void()>(kernels::Backend*)> prepare;
};

// The same numbers for the same arguments, in [-scale, scale).
std::vector<float> RandomFloats(int64_t count, float scale);

// Weights and caches are stored as `stored`.
std::vector<OpCase> AllOpCases(kernels::DType stored);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_OPS_CASES_H_
