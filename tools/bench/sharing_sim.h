// The real core and its scheduler over ranks that answer at once with any token, on virtual time: how many blocks a
// trace of requests holds, how full they are, and what sharing saves.
//
// Pure functions of their options; any thread.
// Invariants:
//   SS1  Lengths alone decide: every choice runs to its max_tokens, so that the figures depend on no model.
//   SS2  Beams branch by made-up rows of log-probs (MakeRow), seeded: how often depends on their spread, which is
//        stated there.
#ifndef QUIRE_TOOLS_BENCH_SHARING_SIM_H_
#define QUIRE_TOOLS_BENCH_SHARING_SIM_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "tools/bench/serve_workload.h"

namespace quire::bench {

struct SharingOptions {
  int64_t block_size = 16;  // tokens
  int64_t num_blocks = 20000;
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
};

struct TraceRequest {
  absl::Duration arrival;
  int64_t prompt_len = 0;
  uint32_t output_len = 0;
  uint32_t n = 1;
  uint32_t beam_width = 0;  // 0 = sampling
};

// Means over steps that hold blocks, weighted by the blocks that each holds.
struct SharingFigures {
  int64_t steps = 0;
  int64_t prefill_tokens = 0;
  int64_t forks = 0;
  int64_t block_copies = 0;
  int64_t preemptions = 0;
  double waste = 0;        // share of the slots of used blocks that hold no token
  double saved = 0;        // share of the blocks that the same tables would hold without sharing
  double above_ideal = 0;  // most that a step held above ideal sharing, as a share; only for one request
};

// Runs the trace to its end. Requires: arrivals in order; every request fits the cache.
SharingFigures RunTrace(const SharingOptions& options, const std::vector<TraceRequest>& trace);

struct TraceOptions {
  uint64_t seed = 1;
  int64_t count = 0;
  double rate = 1;  // requests per second of virtual time
  LengthShape shape = LengthShape::kShareGpt;
  uint32_t n = 1;           // choices of each
  uint32_t beam_width = 0;  // 0 = sampling
};

// Requests with the lengths of serve_workload.h, arriving by a Poisson process.
std::vector<TraceRequest> MakeTrace(const TraceOptions& options);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_SHARING_SIM_H_
