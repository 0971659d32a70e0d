// Decisions of the host about kernel starts, as pure functions.
#ifndef QUIRE_KERNELS_CUDA_LAUNCH_PLAN_H_
#define QUIRE_KERNELS_CUDA_LAUNCH_PLAN_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "kernels/cuda/attention_kernels.h"

namespace quire::kernels::cuda {

// The tiles of a batch: neighbouring queries of one sequence, at most `queries_per_tile`, in order. Appends to `tiles`.
// Shapes: query_start [num_seqs + 1].
void TileQueries(absl::Span<const int32_t> query_start, int64_t queries_per_tile, std::vector<QueryTile>* tiles);

struct SplitRequest {
  int64_t num_tiles = 0;
  int64_t blocks_per_tile = 0;  // without a split
  int64_t max_chunks = 0;       // of any query
  int64_t workspace_bytes_per_tile = 0;
  int64_t workspace_bytes = 0;
  int64_t num_multiprocessors = 1;
};

struct SplitPlan {
  int64_t num_splits = 1;
  int64_t tiles_per_launch = 0;  // what the workspace holds
};

// How many blocks share a query's chunks: enough to fill the device, no more than there are chunks. Never changes a bit
// of the answer (attention_kernels.h).
SplitPlan PlanSplits(const SplitRequest& request);

// Cuts copies, which are to be done in order, into runs that may be done at once: inside a run no block is written
// twice, nor both written and read. Returns each run's end.
std::vector<int64_t> IndependentRuns(absl::Span<const std::pair<int32_t, int32_t>> copies);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_LAUNCH_PLAN_H_
