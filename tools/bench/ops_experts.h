// The operations of a mixture of experts, as tools/bench:ops times and checks them.
#ifndef QUIRE_TOOLS_BENCH_OPS_EXPERTS_H_
#define QUIRE_TOOLS_BENCH_OPS_EXPERTS_H_

#include <vector>

#include "tools/bench/ops_cases.h"

namespace quire::bench {

// Layers of few wide and of many narrow experts: the products, and all from router logits to sums.
void AddExpertOps(kernels::DType stored, std::vector<OpCase>* ops);

// What a small layer gives, for comparison with the reference.
std::vector<float> RunExperts(kernels::Backend* backend);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_OPS_EXPERTS_H_
