#include "worker/model/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

ModelSpec Spec(int64_t num_heads, int64_t num_kv_heads) {
  ModelSpec spec;
  spec.vocab_size = 101;
  spec.hidden_size = 64;
  spec.num_layers = 2;
  spec.num_heads = num_heads;
  spec.num_kv_heads = num_kv_heads;
  spec.head_dim = 16;
  spec.ffn_size = 83;
  spec.max_position = 512;
  spec.experts.count = 10;
  spec.experts.chosen = 2;
  spec.experts.ffn_size = 51;
  spec.experts.shared_ffn_size = 41;
  spec.experts.layers = {true, true};
  return spec;
}

constexpr Role kAllRoles[] = {Role::kEmbedding,  Role::kPositions, Role::kFinalNorm,  Role::kHead,
                              Role::kNorm1,      Role::kQuery,     Role::kKey,        Role::kValue,
                              Role::kOutput,     Role::kNorm2,     Role::kGate,       Role::kUp,
                              Role::kDown,       Role::kQueryNorm, Role::kKeyNorm,    Role::kAttentionOutNorm,
                              Role::kFfnOutNorm, Role::kProjectIn, Role::kProjectOut, Role::kRouter,
                              Role::kSharedGate, Role::kSharedUp,  Role::kSharedDown, Role::kSharedSwitch,
                              Role::kExpertGate, Role::kExpertUp,  Role::kExpertDown};

// P1 over every role, degree and head count.
TEST(ShardTest, RanksTileEveryAxisInOrder) {
  for (const auto& [num_heads, num_kv_heads] : {std::make_pair(8, 8), {8, 2}, {8, 1}, {12, 4}, {25, 25}}) {
    ModelSpec spec = Spec(num_heads, num_kv_heads);
    spec.head_norm = num_heads == 12 ? HeadNorm::kShared : HeadNorm::kOwn;
    for (int world_size = 1; world_size <= num_heads; ++world_size) {
      if (!MakeShard(spec, 0, world_size).ok()) continue;
      for (const Role role : kAllRoles) {
        const bool is_norm = role == Role::kQueryNorm || role == Role::kKeyNorm;
        const bool is_whole = InfoOf(role).split != Split::kRows || (is_norm && spec.head_norm == HeadNorm::kShared);
        const bool is_kv = role == Role::kKey || role == Role::kValue || role == Role::kKeyNorm;
        const int holders = is_kv ? std::max(1, world_size / num_kv_heads) : 1;
        int64_t next_row = 0, next_col = 0;
        for (int rank = 0; rank < world_size; ++rank) {
          auto shard = MakeShard(spec, rank, world_size);
          ASSERT_TRUE(shard.ok()) << shard.status();
          const ShardRange rows = ShardRows(*shard, spec, role), cols = ShardCols(*shard, spec, role);
          const bool repeats = rank % holders != 0 || is_whole;
          if (rank > 0 && repeats) next_row -= rows.count;
          if (rank > 0 && InfoOf(role).split != Split::kCols) next_col -= cols.count;
          EXPECT_EQ(rows.begin, next_row) << InfoOf(role).name << " rank " << rank << " of " << world_size;
          EXPECT_EQ(cols.begin, next_col) << InfoOf(role).name << " rank " << rank << " of " << world_size;
          next_row = rows.begin + rows.count;
          next_col = cols.begin + cols.count;
        }
        EXPECT_EQ(next_row, AxisSize(InfoOf(role).rows, spec)) << InfoOf(role).name << " of " << world_size;
        EXPECT_EQ(next_col, AxisSize(InfoOf(role).cols, spec)) << InfoOf(role).name << " of " << world_size;
      }
    }
  }
}

// P2: query head h of the model uses key/value head h / (heads per key/value head).
TEST(ShardTest, QueriesFindTheirKeyHeadOnTheirRank) {
  for (const auto& [num_heads, num_kv_heads] : {std::make_pair(8, 8), {8, 2}, {8, 1}, {12, 4}, {24, 2}}) {
    const ModelSpec spec = Spec(num_heads, num_kv_heads);
    for (int world_size = 1; world_size <= num_heads; ++world_size) {
      for (int rank = 0; rank < world_size; ++rank) {
        auto shard = MakeShard(spec, rank, world_size);
        if (!shard.ok()) continue;
        ASSERT_EQ(shard->num_heads % shard->num_kv_heads, 0);
        for (int64_t h = 0; h < shard->num_heads; ++h) {
          const int64_t head = shard->heads.begin / spec.head_dim + h;
          const int64_t local = h / (shard->num_heads / shard->num_kv_heads);
          EXPECT_EQ(shard->kv_heads.begin / spec.head_dim + local, head / (num_heads / num_kv_heads));
        }
      }
    }
  }
}

// Experts are shared out whole, or each of them by columns; on two and four ranks both begin and end at quarters.
TEST(ShardTest, ExpertsOrTheirColumnsAreSharedOut) {
  const ModelSpec spec = Spec(8, 8);
  for (const int world_size : {1, 2, 4, 8}) {
    int64_t next = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      const Shard columns = *MakeShard(spec, rank, world_size), experts = *MakeShard(spec, rank, world_size, true);
      EXPECT_EQ(columns.experts.begin, 0);
      EXPECT_EQ(columns.experts.count, 10);
      EXPECT_EQ(ShardRows(experts, spec, Role::kExpertUp).count, 51);
      EXPECT_EQ(ShardCols(experts, spec, Role::kExpertDown).count, 51);
      EXPECT_EQ(experts.shared_ffn.count, columns.shared_ffn.count) << "the shared mlp is split by columns either way";
      EXPECT_EQ(experts.experts.begin, next);
      next += experts.experts.count;
      if (world_size > 4) continue;
      const int quarter = rank * 4 / world_size;
      EXPECT_EQ(columns.expert_ffn.begin, 51 * quarter / 4);
      EXPECT_EQ(columns.shared_ffn.begin, 41 * quarter / 4);
      EXPECT_EQ(experts.experts.begin, 10 * quarter / 4);
    }
    EXPECT_EQ(next, 10);
  }
}

TEST(ShardTest, VocabularyShardsDifferByAtMostOneRow) {
  const ModelSpec spec = Spec(8, 8);
  std::vector<int64_t> counts;
  for (int rank = 0; rank < 8; ++rank) {
    auto shard = MakeShard(spec, rank, 8);
    EXPECT_EQ(shard->vocab_padded, 13);
    counts.push_back(shard->vocab.count);
  }
  EXPECT_THAT(counts, ::testing::ElementsAre(13, 13, 13, 13, 13, 12, 12, 12));
}

TEST(ShardTest, DegreesThatDoNotFitAreRefusedWithBothNumbers) {
  ModelSpec tiny_vocabulary = Spec(8, 8);
  tiny_vocabulary.vocab_size = 3;
  ModelSpec narrow_experts = Spec(8, 8);
  narrow_experts.experts.ffn_size = 5;
  struct {
    ModelSpec spec;
    int world_size;
    std::vector<std::string> message;
  } const cases[] = {
      {Spec(8, 8), 3, {"degree 3", "8 attention heads"}},
      {Spec(8, 2), 16, {"degree 16", "8 attention heads"}},
      {Spec(12, 6), 4, {"degree 4", "6 key/value heads"}},
      {tiny_vocabulary, 4, {"degree 4", "vocabulary size of 3"}},
      {narrow_experts, 8, {"degree 8", "expert's ffn size of 5"}},
  };
  for (const auto& bad : cases) {
    auto shard = MakeShard(bad.spec, 0, bad.world_size);
    ASSERT_TRUE(absl::IsInvalidArgument(shard.status())) << shard.status();
    for (const std::string& part : bad.message) EXPECT_THAT(std::string(shard.status().message()), HasSubstr(part));
  }
}

}  // namespace
}  // namespace quire::worker
