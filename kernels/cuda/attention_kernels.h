// The paged cache on the device: stores, copies of blocks, attention.
//
// Layout inside a (block, layer) extent: keys [kv_heads][block_size][head_dim], then values alike.
// Attention is defined over chunks of kChunkKeys keys from the start of the sequence: each chunk gives a maximum, a sum
// and weighted values; chunks are merged in ascending order. So a query's bits hang neither on the batch nor on how
// prompts were cut, and blocks may share the chunks of a long context (`splits`) without changing a bit.
#ifndef QUIRE_KERNELS_CUDA_ATTENTION_KERNELS_H_
#define QUIRE_KERNELS_CUDA_ATTENTION_KERNELS_H_

#include <cstdint>

#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/stream.h"
#include "kernels/tensor_view.h"

namespace quire::kernels::cuda {

inline constexpr int64_t kChunkKeys = 128;
inline constexpr int64_t kSlotsOfBlock = 8;  // pairs of a query and a query head that share a block and its keys
inline constexpr int64_t kHeadDimMax = 256;

// One layer of the cache.
struct CacheLayer {
  char* base = nullptr;
  DType dtype = DType::kF32;
  int64_t block_bytes = 0;   // between blocks
  int64_t layer_offset = 0;  // bytes from a block's begin
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t block_size = 0;
};

// Neighbouring queries of one sequence that a block answers together.
struct QueryTile {
  int32_t first_row = 0;
  int32_t num_queries = 0;
  int32_t sequence = 0;
};

// Query heads of one kv head in a block, and how many queries then fill its slots.
inline int64_t HeadsOfBlock(int64_t group) { return group < kSlotsOfBlock ? group : kSlotsOfBlock; }
inline int64_t QueriesOfBlock(int64_t group) { return kSlotsOfBlock / HeadsOfBlock(group); }

struct AttentionCall {
  Rows q, out;  // [num_tokens, num_heads * head_dim]
  // Of the call, rows without gaps; device memory, as all arrays here.
  const QueryTile* tiles = nullptr;
  int64_t num_tiles = 0;
  int64_t first_row = 0;  // of the first tile
  int64_t end_row = 0;    // behind the last tile
  int32_t num_heads = 0;
  CacheLayer cache;
  const int32_t* row_sequence = nullptr;  // [num_tokens] sequence of each query
  const int32_t* query_start = nullptr;   // [num_seqs + 1]
  const int32_t* context_len = nullptr;   // [num_seqs]
  const int32_t* block_tables = nullptr;  // [num_seqs, max_blocks]
  int64_t max_blocks = 0;
  float scale = 1.0f;
  int64_t window = 0;
  float softcap = 0.0f;
  const float* alibi_slopes = nullptr;  // [num_heads], null = none
  bool alibi_in_bf16 = false;
  // Blocks that share the chunks of a query; above 1 they write partial answers to `workspace`.
  int32_t num_splits = 1;
  int32_t max_chunks = 1;      // of any query of the call
  float* workspace = nullptr;  // WorkspaceFloats elements
};

// Partial answers: [num_rows, num_heads, max_chunks, head_dim + 2].
inline int64_t WorkspaceFloats(int64_t num_rows, int64_t num_heads, int64_t max_chunks, int64_t head_dim) {
  return num_rows * num_heads * max_chunks * (head_dim + 2);
}

void LaunchStoreKv(const Rows& k, const Rows& v, const int64_t* slots, const CacheLayer& cache, Stream stream);
void LaunchAttention(const AttentionCall& call, Stream stream);

// Copies whole blocks; pairs [num_copies][2] of source and destination on the device. Requires: no pair's block is
// another pair's destination.
void LaunchCopyBlocks(char* base, int64_t block_bytes, const int32_t* pairs, int64_t num_copies, Stream stream);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_ATTENTION_KERNELS_H_
