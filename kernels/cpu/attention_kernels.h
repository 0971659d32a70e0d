// Paged attention over the fast backend's cache layout. FastBackend splits the work; these functions compute one piece
// each.
//
// Layout of a (block, layer) extent: keys [num_kv_heads][block_size / 16][head_dim][16], then values
// [num_kv_heads][block_size][head_dim]: sixteen scores come from one vector, values of a key lie together.
// Invariants:
//   A1  A query's result is defined over fixed chunks of kChunk keys counted from the start of its sequence: per chunk
//       a maximum, a sum and weighted values, merged in ascending order. So neither the query's neighbours, nor how a
//       prefill was cut, nor which threads computed which chunk changes its bits (B2).
//       A chunk of which a row sees nothing changes nothing of the row, so where a window begins shows in no bit either.
//   A2  Slots behind a sequence's context are never used: they may hold another sequence's values, or NaN.
//   A3  With a window, blocks that end before the first key that a task's first query sees are not touched, and their
//       entries of the block table are not read.
#ifndef QUIRE_KERNELS_CPU_ATTENTION_KERNELS_H_
#define QUIRE_KERNELS_CPU_ATTENTION_KERNELS_H_

#include <cstdint>

#include "kernels/backend.h"

namespace quire::kernels::cpu {

inline constexpr int64_t kChunk = 512;      // keys
inline constexpr int64_t kAttendRows = 48;  // (query, head) rows of a task, at least one query's group

// Queries [first, first + count) of a sequence, with the heads that share one kv head.
struct AttendTask {
  const float* q = nullptr;  // query `first`, first head of the group
  float* out = nullptr;
  const int32_t* blocks = nullptr;
  int64_t count = 0;
  int64_t visible = 0;  // keys that query `first` sees; each later one sees one more
  int64_t kv_head = 0;
};

struct AttendJob {
  KvCacheView cache;
  int64_t layer = 0;
  int64_t q_stride = 0;
  int64_t out_stride = 0;
  int64_t group = 0;  // heads per kv head
  AttentionParams params;

  int64_t head_dim() const { return cache.layout.head_dim; }
  // Rows of a task are (query, head) pairs, head fastest.
  int64_t Rows(const AttendTask& task) const { return task.count * group; }
  // The task's chunks are [FirstChunk, FirstChunk + Chunks) of its sequence's; there is one at least.
  int64_t FirstKey(const AttendTask& task) const { return FirstVisibleKey(params, task.visible - 1); }
  int64_t FirstChunk(const AttendTask& task) const { return FirstKey(task) / kChunk; }
  int64_t Chunks(const AttendTask& task) const {
    return (task.visible + task.count - 1 + kChunk - 1) / kChunk - FirstChunk(task);
  }
  // Floats of one chunk's (or state's) result: values [rows, head_dim], maxima [rows], sums [rows].
  int64_t PartialFloats(const AttendTask& task) const { return Rows(task) * (head_dim() + 2); }
};

// Floats of scratch that `chunk` needs.
inline constexpr int64_t kAttendScratchFloats = 6 * kChunk;

struct AttendKernels {
  // Computes chunk number `chunk` of the sequence for a task into `partial`.
  void (*chunk)(const AttendJob& job, const AttendTask& task, int64_t chunk, float* partial, float* scratch);
  // state = state merged with the next chunk's partial.
  void (*merge)(const AttendJob& job, const AttendTask& task, const float* partial, float* state);
  // Divides by the sums and writes the task's outputs.
  void (*finish)(const AttendJob& job, const AttendTask& task, const float* state);
};

// Requires: the target is compiled in and the machine has it.
AttendKernels AttendKernelsFor(int64_t target);

// Scatters keys and values of tokens [0, slots.size()) for kv heads [first_head, last_head). Shapes as in
// Backend::StoreKv.
void StoreKvHeads(const TensorView& k, const TensorView& v, absl::Span<const int64_t> slots, int64_t layer,
                  const KvCacheView& cache, int64_t first_head, int64_t last_head);

// First element of 16 keys / of a value row, as an offset in elements from the cache's base.
inline int64_t KeyOffset(const KvCacheLayout& l, int64_t layer, int64_t block, int64_t head, int64_t key_group) {
  const int64_t extent = (block * l.num_layers + layer) * 2 * l.num_kv_heads * l.block_size * l.head_dim;
  return extent + (head * l.block_size + key_group * 16) * l.head_dim;
}
inline int64_t ValueOffset(const KvCacheLayout& l, int64_t layer, int64_t block, int64_t head, int64_t offset) {
  const int64_t extent = (block * l.num_layers + layer) * 2 * l.num_kv_heads * l.block_size * l.head_dim;
  return extent + ((l.num_kv_heads + head) * l.block_size + offset) * l.head_dim;
}

}  // namespace quire::kernels::cpu

#endif  // QUIRE_KERNELS_CPU_ATTENTION_KERNELS_H_
