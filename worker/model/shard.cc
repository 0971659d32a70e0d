#include "worker/model/shard.h"

#include <glog/logging.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

// As equal as can be; the first ranks take one more.
ShardRange Balanced(int64_t size, int rank, int world_size) {
  const int64_t base = size / world_size, extra = size % world_size;
  return {rank * base + std::min<int64_t>(rank, extra), base + (rank < extra ? 1 : 0)};
}

// Begins and ends at the borders of quarters where one, two or four ranks share out: sums over the axis then have one
// order (docs/decisions/0018).
ShardRange ByQuarters(int64_t size, int rank, int world_size) {
  const int64_t begin = size * rank / world_size;
  return {begin, size * (rank + 1) / world_size - begin};
}

absl::Status ShareExperts(const ExpertsSpec& spec, bool expert_parallel, Shard* shard) {
  if (spec.count == 0) {
    if (!expert_parallel) return absl::OkStatus();
    return absl::InvalidArgumentError("expert parallelism is asked for, and the model has no experts");
  }
  const auto too_many = [&](const char* what, int64_t size) {
    return absl::InvalidArgumentError(absl::StrCat(expert_parallel ? "expert" : "tensor", " parallel degree ",
                                                   shard->world_size, " is larger than the ", what, " of ", size));
  };
  if (expert_parallel && spec.count < shard->world_size) return too_many("number of experts", spec.count);
  if (!expert_parallel && spec.ffn_size < shard->world_size) return too_many("expert's ffn size", spec.ffn_size);
  if (spec.shared_ffn_size > 0 && spec.shared_ffn_size < shard->world_size) {
    return too_many("shared expert's ffn size", spec.shared_ffn_size);
  }
  shard->expert_parallel = expert_parallel;
  shard->experts = {0, spec.count};
  shard->expert_ffn = {0, spec.ffn_size};
  if (expert_parallel) {
    shard->experts = ByQuarters(spec.count, shard->rank, shard->world_size);
  } else {
    shard->expert_ffn = ByQuarters(spec.ffn_size, shard->rank, shard->world_size);
  }
  shard->shared_ffn = ByQuarters(spec.shared_ffn_size, shard->rank, shard->world_size);
  return absl::OkStatus();
}

ShardRange RangeOf(Axis axis, const Shard& shard, const ModelSpec& spec) {
  switch (axis) {
    case Axis::kHeads:
      return shard.heads;
    case Axis::kKvHeads:
      return shard.kv_heads;
    case Axis::kQueryNorm:
      return spec.head_norm == HeadNorm::kShared ? ShardRange{0, spec.head_dim} : shard.heads;
    case Axis::kKeyNorm:
      return spec.head_norm == HeadNorm::kShared ? ShardRange{0, spec.head_dim} : shard.kv_heads;
    case Axis::kFfn:
      return shard.ffn;
    case Axis::kVocab:
      return shard.vocab;
    case Axis::kExpertFfn:
      return shard.expert_ffn;
    case Axis::kSharedFfn:
      return shard.shared_ffn;
    default:
      return {0, AxisSize(axis, spec)};
  }
}

}  // namespace

ShardRange EvenRange(int64_t size, int64_t rank, int64_t world_size) {
  const int64_t begin = size * rank / world_size;
  return {begin, size * (rank + 1) / world_size - begin};
}

ShardRange VocabRange(const ModelSpec& spec, int rank, int world_size) {
  return Balanced(spec.vocab_size, rank, world_size);
}

absl::StatusOr<Shard> MakeShard(const ModelSpec& spec, int rank, int world_size, bool expert_parallel) {
  CHECK(world_size >= 1 && rank >= 0 && rank < world_size) << rank << " of " << world_size;
  if (spec.num_heads % world_size != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor parallel degree ", world_size, " does not divide the ",
                                                   spec.num_heads, " attention heads"));
  }
  if (spec.num_kv_heads % world_size != 0 && world_size % spec.num_kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("tensor parallel degree ", world_size,
                                                   " neither divides nor is a multiple of the ", spec.num_kv_heads,
                                                   " key/value heads"));
  }
  for (const auto& [what, size] :
       {std::make_pair("vocabulary", spec.vocab_size), std::make_pair("ffn", spec.ffn_size)}) {
    if (size < world_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor parallel degree ", world_size, " is larger than the ", what, " size of ", size));
    }
  }
  Shard shard;
  shard.rank = rank;
  shard.world_size = world_size;
  shard.num_heads = spec.num_heads / world_size;
  shard.heads = {rank * shard.num_heads * spec.head_dim, shard.num_heads * spec.head_dim};
  shard.num_kv_heads = std::max<int64_t>(1, spec.num_kv_heads / world_size);
  // Fewer key/value heads than ranks: neighbours hold a copy of the one head that their queries use.
  const int64_t first_kv_head = rank * spec.num_kv_heads / world_size;
  shard.kv_heads = {first_kv_head * spec.head_dim, shard.num_kv_heads * spec.head_dim};
  shard.ffn = Balanced(spec.ffn_size, rank, world_size);
  shard.vocab = VocabRange(spec, rank, world_size);
  shard.vocab_padded = VocabRange(spec, 0, world_size).count;
  if (absl::Status s = ShareExperts(spec.experts, expert_parallel, &shard); !s.ok()) return s;
  return shard;
}

ShardRange ShardRows(const Shard& shard, const ModelSpec& spec, Role role) {
  const RoleInfo& info = InfoOf(role);
  return info.split == Split::kRows ? RangeOf(info.rows, shard, spec) : ShardRange{0, AxisSize(info.rows, spec)};
}

ShardRange ShardCols(const Shard& shard, const ModelSpec& spec, Role role) {
  const RoleInfo& info = InfoOf(role);
  return info.split == Split::kCols ? RangeOf(info.cols, shard, spec) : ShardRange{0, AxisSize(info.cols, spec)};
}

}  // namespace quire::worker
