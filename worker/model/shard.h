// Which part of every canonical tensor one rank of a tensor-parallel group holds. Pure; any thread.
//
// Invariants:
//   P1  The ranks' ranges of an axis tile it in rank order; only key/value heads may be held by several, neighbours.
//   P2  A rank's query heads use exactly its key/value heads, the same number each.
#ifndef QUIRE_WORKER_MODEL_SHARD_H_
#define QUIRE_WORKER_MODEL_SHARD_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/model/model_spec.h"
#include "worker/model/roles.h"

namespace quire::worker {

// Elements [begin, begin + count) of an axis.
struct ShardRange {
  int64_t begin = 0;
  int64_t count = 0;
};

struct Shard {
  int rank = 0;
  int world_size = 1;
  int64_t num_heads = 0;     // of this rank
  int64_t num_kv_heads = 0;  // of this rank
  ShardRange heads;          // in elements, heads * head_dim
  ShardRange kv_heads;
  ShardRange ffn;
  ShardRange vocab;
  ShardRange expert_ffn;  // of every expert; whole where the ranks share out the experts themselves
  ShardRange shared_ffn;
  ShardRange experts;  // whose weights the rank holds; all of them unless expert_parallel
  bool expert_parallel = false;
  int64_t vocab_padded = 0;  // rows of the largest vocabulary shard, equal on all ranks: what the all-gather moves
};

// Errors: INVALID_ARGUMENT where the degree does not fit the heads, the vocabulary or the experts, with both numbers.
// expert_parallel: a rank holds whole experts, neighbours, instead of a part of each.
absl::StatusOr<Shard> MakeShard(const ModelSpec& spec, int rank, int world_size, bool expert_parallel = false);

// Rows and columns of a role's weight that the rank holds; the whole axis where the table does not split it.
ShardRange ShardRows(const Shard& shard, const ModelSpec& spec, Role role);
ShardRange ShardCols(const Shard& shard, const ModelSpec& spec, Role role);

// Elements [size * rank / world_size, size * (rank + 1) / world_size).
ShardRange EvenRange(int64_t size, int64_t rank, int64_t world_size);

// Rows of the vocabulary that `rank` holds: as equal as can be, the first ranks one more.
ShardRange VocabRange(const ModelSpec& spec, int rank, int world_size);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_SHARD_H_
