// One block has up to kSlotsOfBlock slots, a slot being one query of one query head of a kv head, and some chunks of
// their keys: a key is read once for all of them.
//
// A chunk in three passes: scores (groups of lanes share a key), softmax (a warp has a slot), values (a warp has every
// fourth key, a lane some columns; the warps' sums are added as ((0 + 1) + (2 + 3))). A key that a slot does not see has
// weight 0 there, which changes no bit of its sums.
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/warp.cuh"

namespace quire::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kLanesOfKey = 8;  // lanes that share a key's product
constexpr int kKeysAtOnce = kThreads / kLanesOfKey;
constexpr float kMinusInfinity = -INFINITY;

template <typename T>
__device__ __forceinline__ const T* CacheRow(const CacheLayer& cache, int64_t block, int64_t offset, int64_t head,
                                             int half) {
  const char* extent = cache.base + block * cache.block_bytes + cache.layer_offset;
  const int64_t row = (half * cache.num_kv_heads + head) * cache.block_size + offset;
  return reinterpret_cast<const T*>(extent) + row * cache.head_dim;
}

__device__ __forceinline__ float RoundToBf16(float x) { return Widen(Narrow<BFloat16>(x)); }

// What a product becomes: scale, soft cap, position.
__device__ __forceinline__ float Score(const AttentionCall& call, float dot, int64_t head, int64_t position,
                                       int64_t key) {
  float score = dot * call.scale;
  if (call.softcap > 0.0f) score = call.softcap * tanhf(score / call.softcap);
  if (call.alibi_slopes == nullptr) return score;
  const float slope = call.alibi_slopes[head];
  if (!call.alibi_in_bf16) return score + slope * static_cast<float>(key - position);
  const float rounded = RoundToBf16(slope);
  const float at_key = RoundToBf16(rounded * RoundToBf16(static_cast<float>(key)));
  const float at_query = RoundToBf16(rounded * RoundToBf16(static_cast<float>(position)));
  return score + call.scale * (at_key - at_query);
}

// What a block works on. Slot s is query s / num_heads of the tile and head s % num_heads of the block's.
struct Task {
  int64_t row, kv_head, first_head;
  int num_heads, num_slots;
  int64_t position;  // of the first query
  int64_t window;
  const int32_t* blocks;

  __device__ __forceinline__ int64_t RowOf(int slot) const { return row + slot / num_heads; }
  __device__ __forceinline__ int64_t HeadOf(int slot) const { return first_head + slot % num_heads; }
  __device__ __forceinline__ int64_t PositionOf(int slot) const { return position + slot / num_heads; }
  __device__ __forceinline__ int64_t LastPosition() const { return PositionOf(num_slots - 1); }
  __device__ __forceinline__ int64_t FirstKey(int64_t at) const {
    return window > 0 && at >= window ? at - window + 1 : 0;
  }
};

struct Shared {
  float q[kSlotsOfBlock][kHeadDimMax];
  float scores[kSlotsOfBlock][kChunkKeys];
  float values[kWarps][kHeadDimMax];
  // Of the chunk, then of all chunks so far.
  float chunk_max[kSlotsOfBlock], chunk_sum[kSlotsOfBlock];
  float max[kSlotsOfBlock], sum[kSlotsOfBlock];
  float merged[kSlotsOfBlock][kHeadDimMax];
};

__device__ __forceinline__ Task TaskOfBlock(const AttentionCall& call) {
  Task task;
  const int64_t group = call.num_heads / call.cache.num_kv_heads;
  const int64_t head_tiles = (group + kSlotsOfBlock - 1) / kSlotsOfBlock;
  const QueryTile tile = call.tiles[blockIdx.x];
  task.row = tile.first_row;
  task.kv_head = blockIdx.y / head_tiles;
  const int64_t begin = blockIdx.y % head_tiles * kSlotsOfBlock;
  task.first_head = task.kv_head * group + begin;
  task.num_heads = static_cast<int>(group - begin < kSlotsOfBlock ? group - begin : kSlotsOfBlock);
  task.num_slots = task.num_heads * tile.num_queries;
  task.position = call.context_len[tile.sequence] - (call.query_start[tile.sequence + 1] - tile.first_row);
  task.window = call.window;
  task.blocks = call.block_tables + tile.sequence * call.max_blocks;
  return task;
}

// Keys of a chunk, [begin, end), that the query at a position sees; counted from the chunk's first.
struct SeenKeys {
  int begin, end;
  __device__ __forceinline__ SeenKeys(const Task& task, int64_t chunk, int64_t position) {
    const int64_t first = task.FirstKey(position) - chunk, last = position + 1 - chunk;
    begin = static_cast<int>(first > 0 ? first : 0);
    end = static_cast<int>(last < kChunkKeys ? last : kChunkKeys);
  }
  __device__ __forceinline__ bool any() const { return begin < end; }
};

// Products of one key with all slots of the task, over kLanesOfKey lanes. Every lane of the warp must come here.
template <typename T, bool kAligned>
__device__ __forceinline__ void KeyProducts(const T* key, bool there, const Shared& shared, int num_slots, int head_dim,
                                            float* dots) {
  const int part = static_cast<int>(threadIdx.x) % kLanesOfKey;
#pragma unroll
  for (int h = 0; h < kSlotsOfBlock; ++h) dots[h] = 0.0f;
  for (int begin = part * kPerLoad<T>; there && begin < head_dim; begin += kLanesOfKey * kPerLoad<T>) {
    float wide[kPerLoad<T>];
    if (kAligned) {
      LoadWide(key + begin, wide);
    } else {
#pragma unroll
      for (int i = 0; i < kPerLoad<T>; ++i) wide[i] = begin + i < head_dim ? ToFloat(key[begin + i]) : 0.0f;
    }
#pragma unroll
    for (int h = 0; h < kSlotsOfBlock; ++h) {
      if (h >= num_slots) break;
#pragma unroll
      for (int i = 0; i < kPerLoad<T>; ++i) dots[h] = fmaf(shared.q[h][begin + i], wide[i], dots[h]);
    }
  }
#pragma unroll
  for (int h = 0; h < kSlotsOfBlock; ++h) {
    if (h < num_slots) dots[h] = GroupSum(dots[h], kLanesOfKey);
  }
}

// Fills shared.scores of keys [keys.begin, keys.end) of the chunk.
template <typename T, bool kAligned>
__device__ __forceinline__ void ChunkScores(const AttentionCall& call, const Task& task, int64_t chunk, SeenKeys keys,
                                            Shared* shared) {
  const int lane_key = static_cast<int>(threadIdx.x) / kLanesOfKey;
  const int part = static_cast<int>(threadIdx.x) % kLanesOfKey;
  for (int at = keys.begin; at < keys.end; at += kKeysAtOnce) {
    const int k = at + lane_key;
    const bool there = k < keys.end;
    const int64_t key = chunk + k;
    const T* row = nullptr;
    if (there) {
      row = CacheRow<T>(call.cache, task.blocks[key / call.cache.block_size], key % call.cache.block_size, task.kv_head,
                        0);
    }
    float dots[kSlotsOfBlock];
    KeyProducts<T, kAligned>(row, there, *shared, task.num_slots, call.cache.head_dim, dots);
    if (!there) continue;
#pragma unroll
    for (int s = 0; s < kSlotsOfBlock; ++s) {
      if (s % kLanesOfKey != part || s >= task.num_slots) continue;
      shared->scores[s][k] = Score(call, dots[s], task.HeadOf(s), task.PositionOf(s), key);
    }
  }
}

// Scores of the chunk become weights, relative to the slot's own maximum in the chunk; 0 where a slot sees no key.
__device__ __forceinline__ void ChunkSoftmax(const Task& task, int64_t chunk, SeenKeys keys, Shared* shared) {
  for (int s = WarpIndex(); s < task.num_slots; s += kWarps) {
    float* scores = shared->scores[s];
    const SeenKeys own(task, chunk, task.PositionOf(s));
    float max = kMinusInfinity;
    for (int k = own.begin + Lane(); k < own.end; k += kWarp) max = fmaxf(max, scores[k]);
    max = WarpMax(max);
    float sum = 0.0f;
    for (int k = Lane(); k < keys.end;
         k += kWarp) {  // by the key's place in the chunk: a lane's keys are always the same
      const bool seen = k >= own.begin && k < own.end;
      const float weight = seen ? expf(scores[k] - max) : 0.0f;
      if (k >= keys.begin) scores[k] = weight;
      sum += weight;
    }
    sum = WarpSum(sum);
    if (Lane() == 0) {
      shared->chunk_max[s] = max;
      shared->chunk_sum[s] = sum;
    }
  }
}

// A lane's columns of the chunk's weighted values, for every slot, over the keys of its warp.
template <typename T, bool kAligned, int kColumns>
__device__ __forceinline__ void ChunkValues(const AttentionCall& call, const Task& task, int64_t chunk, SeenKeys keys,
                                            const Shared& shared, float sums[kSlotsOfBlock][kColumns]) {
  const int head_dim = call.cache.head_dim;
  const int first = Lane() * kColumns;
#pragma unroll
  for (int s = 0; s < kSlotsOfBlock; ++s) {
#pragma unroll
    for (int i = 0; i < kColumns; ++i) sums[s][i] = 0.0f;
  }
  if (first >= head_dim) return;
#pragma unroll 4
  for (int k = WarpIndex(); k < keys.end; k += kWarps) {
    if (k < keys.begin) continue;
    const int64_t key = chunk + k;
    const T* row =
        CacheRow<T>(call.cache, task.blocks[key / call.cache.block_size], key % call.cache.block_size, task.kv_head, 1);
    float wide[kColumns];
    if (kAligned && kColumns == kPerLoad<T>) {
      LoadWide(row + first, wide);
    } else {
#pragma unroll
      for (int i = 0; i < kColumns; ++i) wide[i] = first + i < head_dim ? ToFloat(row[first + i]) : 0.0f;
    }
#pragma unroll
    for (int s = 0; s < kSlotsOfBlock; ++s) {
      if (s >= task.num_slots) break;
      const float weight = shared.scores[s][k];
#pragma unroll
      for (int i = 0; i < kColumns; ++i) sums[s][i] = fmaf(weight, wide[i], sums[s][i]);
    }
  }
}

// Joins a chunk to what came before it; every way of sharing out chunks ends here.
struct Merge {
  float max, before, now;  // factors of what was there and of what comes
  __device__ __forceinline__ Merge(float old_max, float chunk_max, bool first) {
    max = first ? chunk_max : fmaxf(old_max, chunk_max);
    before = first ? 0.0f : expf(old_max - max);
    now = expf(chunk_max - max);
  }
  __device__ __forceinline__ float Of(float old_value, float chunk_value, bool first) const {
    return first ? chunk_value : old_value * before + chunk_value * now;
  }
};

__device__ __forceinline__ float* Partial(const AttentionCall& call, int64_t row, int64_t head, int64_t chunk) {
  return call.workspace +
         (((row - call.first_row) * call.num_heads + head) * call.max_chunks + chunk) * (call.cache.head_dim + 2);
}

// Puts the chunk's answer of one slot, its columns in shared.values of every warp, where it belongs.
__device__ __forceinline__ void TakeChunk(const AttentionCall& call, const Task& task, int64_t chunk_index, int s,
                                          Shared* shared) {
  const int head_dim = call.cache.head_dim;
  const bool split = call.num_splits > 1;
  const bool first = chunk_index == task.FirstKey(task.PositionOf(s)) / kChunkKeys;
  float* partial = split ? Partial(call, task.RowOf(s), task.HeadOf(s), chunk_index) : nullptr;
  const Merge merge(shared->max[s], shared->chunk_max[s], first);
  for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kThreads) {
    const float value = (shared->values[0][d] + shared->values[1][d]) + (shared->values[2][d] + shared->values[3][d]);
    if (split) {
      partial[2 + d] = value;
    } else {
      shared->merged[s][d] = merge.Of(shared->merged[s][d], value, first);
    }
  }
  __syncthreads();  // all have read the maximum, and values may be written again
  if (threadIdx.x != 0) return;
  if (split) {
    partial[0] = shared->chunk_max[s];
    partial[1] = shared->chunk_sum[s];
  } else {
    shared->sum[s] = merge.Of(shared->sum[s], shared->chunk_sum[s], first);
    shared->max[s] = merge.max;
  }
}

template <typename T, bool kAligned, int kColumns>
__device__ __forceinline__ void AttendChunk(const AttentionCall& call, const Task& task, int64_t chunk_index,
                                            Shared* shared) {
  const int64_t chunk = chunk_index * kChunkKeys;
  // Of all slots: the first query sees the oldest key, the last one the newest.
  SeenKeys keys(task, chunk, task.position);
  keys.end = SeenKeys(task, chunk, task.LastPosition()).end;
  ChunkScores<T, kAligned>(call, task, chunk, keys, shared);
  __syncthreads();
  ChunkSoftmax(task, chunk, keys, shared);
  __syncthreads();
  float sums[kSlotsOfBlock][kColumns];
  ChunkValues<T, kAligned, kColumns>(call, task, chunk, keys, *shared, sums);
#pragma unroll
  for (int s = 0; s < kSlotsOfBlock; ++s) {
    if (s >= task.num_slots) break;
    if (!SeenKeys(task, chunk, task.PositionOf(s)).any()) continue;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int d = Lane() * kColumns + i;
      if (d < call.cache.head_dim) shared->values[WarpIndex()][d] = sums[s][i];
    }
    __syncthreads();
    TakeChunk(call, task, chunk_index, s, shared);
  }
  __syncthreads();
}

template <typename T, bool kAligned, int kColumns>
__global__ void __launch_bounds__(kThreads) AttentionKernel(AttentionCall call) {
  __shared__ Shared shared;
  const Task task = TaskOfBlock(call);
  const int head_dim = call.cache.head_dim;
  const int64_t first_chunk = task.FirstKey(task.position) / kChunkKeys;
  const int64_t end_chunk = task.LastPosition() / kChunkKeys + 1;
  if (first_chunk + blockIdx.z >= end_chunk) return;
  // Zeros behind the last column: a load of eight may reach there.
  const int padded = (head_dim + kPerLoad<T> - 1) / kPerLoad<T> * kPerLoad<T>;
  for (int s = 0; s < task.num_slots; ++s) {
    const float* q = call.q.data + task.RowOf(s) * call.q.stride + task.HeadOf(s) * head_dim;
    for (int d = static_cast<int>(threadIdx.x); d < padded; d += kThreads) shared.q[s][d] = d < head_dim ? q[d] : 0.0f;
  }
  __syncthreads();
  for (int64_t c = first_chunk + blockIdx.z; c < end_chunk; c += call.num_splits) {
    AttendChunk<T, kAligned, kColumns>(call, task, c, &shared);
  }
  if (call.num_splits > 1) return;
  for (int s = 0; s < task.num_slots; ++s) {
    float* out = call.out.data + task.RowOf(s) * call.out.stride + task.HeadOf(s) * head_dim;
    for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kThreads) {
      out[d] = shared.merged[s][d] / shared.sum[s];
    }
  }
}

// Merges a head's chunks in ascending order: what a single block does as it goes.
__global__ void __launch_bounds__(kThreads) MergeKernel(AttentionCall call) {
  const int64_t row = call.first_row + blockIdx.x, head = blockIdx.y;
  const int64_t sequence = call.row_sequence[row];
  const int64_t position = call.context_len[sequence] - (call.query_start[sequence + 1] - row);
  const int64_t first_key = call.window > 0 && position >= call.window ? position - call.window + 1 : 0;
  const int64_t first_chunk = first_key / kChunkKeys, end_chunk = position / kChunkKeys + 1;
  const int head_dim = call.cache.head_dim;
  float* out = call.out.data + row * call.out.stride + head * head_dim;
  for (int d = static_cast<int>(threadIdx.x); d < head_dim; d += kThreads) {
    float max = kMinusInfinity, sum = 0.0f, value = 0.0f;
    for (int64_t c = first_chunk; c < end_chunk; ++c) {
      const float* partial = Partial(call, row, head, c);
      const bool first = c == first_chunk;
      const Merge merge(max, partial[0], first);
      value = merge.Of(value, partial[2 + d], first);
      sum = merge.Of(sum, partial[1], first);
      max = merge.max;
    }
    out[d] = value / sum;
  }
}

template <typename T>
__global__ void StoreKvKernel(Rows k, Rows v, const int64_t* slots, CacheLayer cache) {
  const int64_t t = blockIdx.x;
  const int64_t slot = slots[t];
  if (slot < 0) return;
  const int64_t block = slot / cache.block_size, offset = slot % cache.block_size;
  const int64_t width = static_cast<int64_t>(cache.num_kv_heads) * cache.head_dim;
  for (int64_t i = threadIdx.x; i < 2 * width; i += kThreads) {
    const int half = i >= width;
    const int64_t column = i - half * width;
    const Rows& from = half ? v : k;
    T* to = const_cast<T*>(CacheRow<T>(cache, block, offset, column / cache.head_dim, half));
    to[column % cache.head_dim] = Narrow<T>(from.data[t * from.stride + column]);
  }
}

__global__ void CopyBlocksKernel(char* base, int64_t block_bytes, const int32_t* pairs) {
  const char* from = base + pairs[2 * blockIdx.y] * block_bytes;
  char* to = base + pairs[2 * blockIdx.y + 1] * block_bytes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kThreads * 16;
  // A block is a multiple of 16 tokens, so of 16 bytes; the cache begins aligned.
  for (int64_t at = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 16; at < block_bytes; at += step) {
    *reinterpret_cast<uint4*>(to + at) = *reinterpret_cast<const uint4*>(from + at);
  }
}

template <typename T, bool kAligned, int kColumns>
void LaunchFor(const AttentionCall& call, Stream stream) {
  const int64_t group = call.num_heads / call.cache.num_kv_heads;
  const int64_t head_tiles = (group + kSlotsOfBlock - 1) / kSlotsOfBlock;
  const unsigned num_rows = static_cast<unsigned>(call.end_row - call.first_row);
  const dim3 grid(static_cast<unsigned>(call.num_tiles), static_cast<unsigned>(call.cache.num_kv_heads * head_tiles),
                  static_cast<unsigned>(call.num_splits));
  Launch(AttentionKernel<T, kAligned, kColumns>, grid, kThreads, 0, stream, call);
  if (call.num_splits == 1) return;
  const dim3 heads(num_rows, static_cast<unsigned>(call.num_heads));
  Launch(MergeKernel, heads, kThreads, 0, stream, call);
}

}  // namespace

void LaunchStoreKv(const Rows& k, const Rows& v, const int64_t* slots, const CacheLayer& cache, Stream stream) {
  DispatchStored(cache.dtype, [&](auto element) {
    Launch(StoreKvKernel<decltype(element)>, dim3(static_cast<unsigned>(k.num_rows)), kThreads, 0, stream, k, v, slots,
           cache);
  });
}

void LaunchAttention(const AttentionCall& call, Stream stream) {
  DispatchStored(call.cache.dtype, [&](auto element) {
    using T = decltype(element);
    const int head_dim = call.cache.head_dim;
    if (head_dim % kPerLoad<T> != 0) return LaunchFor<T, false, 8>(call, stream);
    if (head_dim <= 4 * kWarp) return LaunchFor<T, true, 4>(call, stream);
    LaunchFor<T, true, 8>(call, stream);
  });
}

void LaunchCopyBlocks(char* base, int64_t block_bytes, const int32_t* pairs, int64_t num_copies, Stream stream) {
  const int64_t wanted = (block_bytes / 16 + kThreads - 1) / kThreads;
  const dim3 grid(static_cast<unsigned>(wanted < 64 ? wanted : 64), static_cast<unsigned>(num_copies));
  Launch(CopyBlocksKernel, grid, kThreads, 0, stream, base, block_bytes, pairs);
}

}  // namespace quire::kernels::cuda
