// What this machine can do at most, measured now: the figures that every other figure is divided by. Runs on the given
// threads.
#ifndef QUIRE_TOOLS_BENCH_OPS_CEILINGS_H_
#define QUIRE_TOOLS_BENCH_OPS_CEILINGS_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace quire::bench {

// What time is read from: the wall, or the calling thread's own processor time, which other processes on a busy machine
// do not stretch (one thread only).
enum class Clock { kWall, kThread };

int64_t ClockNanos(Clock clock);

// A rate over the passes that fit a measurement. On a shared machine the best pass may be one that the neighbours left
// alone; what a longer run can hope for is the median.
struct Rate {
  double median = 0;  // per second
  double best = 0;
};

// Bytes per second that all threads together read from memory, over a buffer far larger than the caches. Each thread
// reads in order, in four streams, and in four streams with software prefetch, in turn; of the pattern with the highest
// median. Errors: none; aborts without 512 MiB of memory.
Rate MeasureReadBytesPerSecond(int num_threads, Clock clock, absl::Duration duration);

// f32 operations per second (two per fused multiply-add) of all threads together, from registers, with instruction set
// `isa` of kernels::CpuIsas().
Rate MeasureFmaFlopsPerSecond(int num_threads, const std::string& isa, Clock clock, absl::Duration duration);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_OPS_CEILINGS_H_
