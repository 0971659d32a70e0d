// Counts the calls of operator new of a whole binary, which must link count_allocations.cc: for benchmarks, and for tests
// that hold a path to not allocating.
#ifndef QUIRE_TOOLS_BENCH_COUNT_ALLOCATIONS_H_
#define QUIRE_TOOLS_BENCH_COUNT_ALLOCATIONS_H_

#include <cstdint>

namespace quire {

// By this thread so far.
int64_t NumAllocations();

}  // namespace quire

#endif  // QUIRE_TOOLS_BENCH_COUNT_ALLOCATIONS_H_
