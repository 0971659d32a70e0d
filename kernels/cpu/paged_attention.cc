#include "kernels/cpu/paged_attention.h"

#include <algorithm>

namespace quire::kernels::cpu {
namespace {

// Under this many (row, key) pairs one thread is done before another is awake.
constexpr int64_t kSerialCost = 2048;
// Tasks per thread from which whole tasks balance well enough.
constexpr int64_t kTasksPerThread = 4;

float* Align(std::vector<float>* memory, int64_t floats) {
  if (static_cast<int64_t>(memory->size()) < floats + 16) memory->resize(floats + 16);
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory->data()) + 63) & ~uintptr_t{63});
}

}  // namespace

PagedAttention::PagedAttention(const AttendKernels& kernels, ThreadPool* pool)
    : kernels_(kernels), pool_(pool), scratch_(pool->num_threads()) {}

void PagedAttention::ListTasks(const TensorView& q, const AttendBatch& batch, const TensorView& out) {
  tasks_.clear();
  cost_ends_.clear();
  chunk_ends_.clear();
  const int64_t per_task = std::max<int64_t>(1, kAttendRows / job_.group);  // queries
  int64_t cost = 0;
  int64_t chunks = 0;
  for (int64_t s = 0; s < batch.num_seqs(); ++s) {
    const int64_t begin = batch.query_start[s];
    const int64_t end = batch.query_start[s + 1];
    for (int64_t first = begin; first < end; first += per_task) {
      for (int64_t head = 0; head < job_.cache.layout.num_kv_heads; ++head) {
        AttendTask task;
        const int64_t column = head * job_.group * job_.head_dim();
        task.q = q.as<float>() + first * q.stride[0] + column;
        task.out = out.as<float>() + first * out.stride[0] + column;
        task.blocks = batch.block_tables.data() + s * batch.max_blocks;
        task.count = std::min(per_task, end - first);
        task.visible = batch.context_len[s] - (end - first) + 1;
        task.kv_head = head;
        cost += job_.Rows(task) * (task.visible + task.count - job_.FirstKey(task));
        chunks += job_.Chunks(task);
        tasks_.push_back(task);
        cost_ends_.push_back(cost);
        chunk_ends_.push_back(chunks);
      }
    }
  }
}

void PagedAttention::RunTasks() {
  const int64_t total = cost_ends_.back();
  const int64_t num_threads = total < kSerialCost ? 1 : pool_->num_threads();
  // A task is its thread's whose share of the cost holds the task's end.
  const auto share = [&](int64_t thread) {
    const auto it = std::upper_bound(cost_ends_.begin(), cost_ends_.end(), total * thread / num_threads);
    return it - cost_ends_.begin();
  };
  const auto run = [&](int thread) {
    if (thread >= num_threads) return;
    const int64_t last = thread + 1 == num_threads ? static_cast<int64_t>(tasks_.size()) : share(thread + 1);
    for (int64_t i = share(thread); i < last; ++i) {
      const AttendTask& task = tasks_[i];
      const int64_t floats = (job_.PartialFloats(task) + 15) / 16 * 16;
      float* scratch = Align(&scratch_[thread], kAttendScratchFloats + 2 * floats);
      float* state = scratch + kAttendScratchFloats;
      const int64_t first = job_.FirstChunk(task);
      kernels_.chunk(job_, task, first, state, scratch);
      for (int64_t c = 1; c < job_.Chunks(task); ++c) {
        kernels_.chunk(job_, task, first + c, state + floats, scratch);
        kernels_.merge(job_, task, state + floats, state);
      }
      kernels_.finish(job_, task, state);
    }
  };
  if (num_threads == 1) return run(0);
  pool_->Run(run);
}

void PagedAttention::RunChunks() {
  partial_starts_.clear();
  int64_t floats = 0;
  for (const AttendTask& task : tasks_) {
    partial_starts_.push_back(floats);
    floats += job_.PartialFloats(task) * job_.Chunks(task);
  }
  float* partials = Align(&partials_, floats);
  pool_->ParallelFor(chunk_ends_.back(), cost_ends_.back() < kSerialCost, [&](Range range, int thread) {
    float* scratch = Align(&scratch_[thread], kAttendScratchFloats);
    int64_t task = std::upper_bound(chunk_ends_.begin(), chunk_ends_.end(), range.begin) - chunk_ends_.begin();
    for (int64_t i = range.begin; i < range.end; ++i) {
      if (i == chunk_ends_[task]) ++task;
      const int64_t chunk = i - (chunk_ends_[task] - job_.Chunks(tasks_[task]));
      float* partial = partials + partial_starts_[task] + chunk * job_.PartialFloats(tasks_[task]);
      kernels_.chunk(job_, tasks_[task], job_.FirstChunk(tasks_[task]) + chunk, partial, scratch);
    }
  });
  for (size_t t = 0; t < tasks_.size(); ++t) {
    float* state = partials + partial_starts_[t];
    for (int64_t c = 1; c < job_.Chunks(tasks_[t]); ++c) {
      kernels_.merge(job_, tasks_[t], state + c * job_.PartialFloats(tasks_[t]), state);
    }
    kernels_.finish(job_, tasks_[t], state);
  }
}

void PagedAttention::Attend(const TensorView& q, const AttendBatch& batch, const AttentionParams& params, int64_t layer,
                            const KvCacheView& cache, const TensorView& out) {
  job_ = {cache, layer, q.stride[0], out.stride[0], q.dim(1) / cache.layout.num_kv_heads, params};
  ListTasks(q, batch, out);
  const int64_t num_tasks = static_cast<int64_t>(tasks_.size());
  if (pool_->num_threads() > 1 && num_tasks < kTasksPerThread * pool_->num_threads()) return RunChunks();
  RunTasks();
}

}  // namespace quire::kernels::cpu
