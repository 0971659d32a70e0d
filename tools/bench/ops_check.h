// A short comparison of a backend with the reference, so that no figure is ever taken of a wrong kernel.
#ifndef QUIRE_TOOLS_BENCH_OPS_CHECK_H_
#define QUIRE_TOOLS_BENCH_OPS_CHECK_H_

#include <string>

#include "kernels/backend.h"

namespace quire::bench {

// Runs each op on small odd shapes on both backends. Returns "" or the first op that differs, with both values.
std::string CheckAgainstReference(kernels::Backend* backend);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_OPS_CHECK_H_
