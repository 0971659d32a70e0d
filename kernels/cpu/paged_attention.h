// Splits the attention of a step over the pool's threads.
#ifndef QUIRE_KERNELS_CPU_PAGED_ATTENTION_H_
#define QUIRE_KERNELS_CPU_PAGED_ATTENTION_H_

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace quire::kernels::cpu {

class PagedAttention {
 public:
  PagedAttention(const AttendKernels& kernels, ThreadPool* pool);

  // As Backend::Attend.
  void Attend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
              const KvCacheView& cache, const TensorView& out);

 private:
  void ListTasks(const TensorView& q, const AttendBatch& batch, const TensorView& out);
  // Whole tasks per thread: for prefill and large batches.
  void RunTasks();
  // Single chunks per thread, merged afterwards: for few sequences with long contexts.
  void RunChunks();

  const AttendKernels kernels_;
  ThreadPool* const pool_;
  AttendJob job_;
  std::vector<AttendTask> tasks_;
  std::vector<int64_t> cost_ends_;       // running sum of the tasks' costs
  std::vector<int64_t> chunk_ends_;      // running sum of the tasks' chunks
  std::vector<int64_t> partial_starts_;  // of each task's first chunk, in floats
  std::vector<float> partials_;
  std::vector<std::vector<float>> scratch_;  // per thread
};

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_PAGED_ATTENTION_H_
