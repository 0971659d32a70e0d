#include "worker/model/roles.h"

#include <glog/logging.h>

namespace quire::worker {
namespace {

// Indexed by Role.
const RoleInfo kRoles[kNumRoles] = {
    // Every rank has the whole file mapped and a step reads a handful of rows, so the embedding is not split: looking
    // a row up in the mapping costs less than the all-reduce that joining vocabulary shards would.
    {"embedding", Axis::kVocab, Axis::kEmbed, Split::kNone},
    {"positions", Axis::kPositions, Axis::kHidden, Split::kNone},
    {"final norm", Axis::kHidden, Axis::kOne, Split::kNone},
    {"head", Axis::kVocab, Axis::kEmbed, Split::kRows},
    {"norm1", Axis::kHidden, Axis::kOne, Split::kNone},
    {"query", Axis::kHeads, Axis::kHidden, Split::kRows},
    {"key", Axis::kKvHeads, Axis::kHidden, Split::kRows},
    {"value", Axis::kKvHeads, Axis::kHidden, Split::kRows},
    {"attention output", Axis::kHidden, Axis::kHeads, Split::kCols},
    {"norm2", Axis::kHidden, Axis::kOne, Split::kNone},
    {"gate", Axis::kFfn, Axis::kHidden, Split::kRows},
    {"up", Axis::kFfn, Axis::kHidden, Split::kRows},
    {"down", Axis::kHidden, Axis::kFfn, Split::kCols},
    {"query norm", Axis::kQueryNorm, Axis::kOne, Split::kRows},
    {"key norm", Axis::kKeyNorm, Axis::kOne, Split::kRows},
    {"attention output norm", Axis::kHidden, Axis::kOne, Split::kNone},
    {"ffn output norm", Axis::kHidden, Axis::kOne, Split::kNone},
    {"embedding norm", Axis::kHidden, Axis::kOne, Split::kNone},
    {"input projection", Axis::kHidden, Axis::kEmbed, Split::kNone},
    {"output projection", Axis::kEmbed, Axis::kHidden, Split::kNone},
    // Every rank routes for itself: the same inputs, the same bits, and nothing to exchange.
    {"router", Axis::kExperts, Axis::kHidden, Split::kNone},
    {"shared gate", Axis::kSharedFfn, Axis::kHidden, Split::kRows},
    {"shared up", Axis::kSharedFfn, Axis::kHidden, Split::kRows},
    {"shared down", Axis::kHidden, Axis::kSharedFfn, Split::kCols},
    {"shared switch", Axis::kOne, Axis::kHidden, Split::kNone},
    {"expert gate", Axis::kExpertFfn, Axis::kHidden, Split::kRows},
    {"expert up", Axis::kExpertFfn, Axis::kHidden, Split::kRows},
    {"expert down", Axis::kHidden, Axis::kExpertFfn, Split::kCols},
};

}  // namespace

const RoleInfo& InfoOf(Role role) { return kRoles[static_cast<int>(role)]; }

int64_t AxisSize(Axis axis, const ModelSpec& spec) {
  switch (axis) {
    case Axis::kOne:
      return 1;
    case Axis::kHidden:
      return spec.hidden_size;
    case Axis::kHeads:
      return spec.num_heads * spec.head_dim;
    case Axis::kKvHeads:
      return spec.num_kv_heads * spec.head_dim;
    case Axis::kEmbed:
      return spec.embed_cols();
    case Axis::kQueryNorm:
      return spec.head_norm == HeadNorm::kShared ? spec.head_dim : spec.num_heads * spec.head_dim;
    case Axis::kKeyNorm:
      return spec.head_norm == HeadNorm::kShared ? spec.head_dim : spec.num_kv_heads * spec.head_dim;
    case Axis::kFfn:
      return spec.ffn_size;
    case Axis::kVocab:
      return spec.vocab_size;
    case Axis::kPositions:
      return spec.position_rows();
    case Axis::kExperts:
      return spec.experts.count;
    case Axis::kExpertFfn:
      return spec.experts.ffn_size;
    case Axis::kSharedFfn:
      return spec.experts.shared_ffn_size;
  }
  LOG(FATAL) << "axis " << static_cast<int>(axis);
}

}  // namespace quire::worker
