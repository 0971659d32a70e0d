// How many KV blocks fit: memory that is free once the weights are loaded, less what a step needs, shared between the
// ranks of a host. PlanMemory is pure; MeasureFreeMemory asks the system.
#ifndef QUIRE_WORKER_RUNTIME_MEMORY_PLANNER_H_
#define QUIRE_WORKER_RUNTIME_MEMORY_PLANNER_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace quire::worker {

struct MemoryRequest {
  int64_t free_bytes = 0;  // of the host or the device, with the weights loaded on every rank
  // Of the host, where the device has memory of its own and swap space lies elsewhere; -1 = it is the same memory.
  int64_t host_free_bytes = -1;
  int64_t ranks_of_host = 1;          // that draw on host_free_bytes, this one included
  int64_t ranks_sharing = 1;          // ranks that draw on the same free memory, this one included
  double utilization = 0;             // share of free memory that the ranks may take, (0, 1]; 0 = 0.9
  int64_t kv_cache_memory_bytes = 0;  // of this rank; 0 = by utilization
  int64_t swap_space_bytes = 0;       // of this rank's host memory
  int64_t block_bytes = 0;
  int64_t block_size = 16;  // tokens
  int64_t max_num_seqs = 0;
  int64_t max_logit_rows = 0;  // of one step; 0 = max_num_seqs
  int64_t max_model_len = 0;   // tokens
  int64_t max_num_batched_tokens = 0;
  int64_t attention_window = 0;  // tokens; 0 = none: a sequence keeps all its blocks
  int64_t vocab_size = 0;
};

struct MemoryPlan {
  int64_t device_blocks = 0;
  int64_t host_blocks = 0;  // room for preempted sequences
};

// Blocks of this rank: at most what max_num_seqs sequences of max_model_len tokens can use.
// Errors: RESOURCE_EXHAUSTED with the numbers and what to change, if not even one sequence of max_model_len fits;
// INVALID_ARGUMENT utilization outside [0, 1].
absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& request);

// Bytes that this process could still use: the least of the host's available memory and its control group's limits.
absl::StatusOr<int64_t> MeasureFreeMemory();

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_MEMORY_PLANNER_H_
