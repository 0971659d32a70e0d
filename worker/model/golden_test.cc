// The decoder against transformers' logits (tests/goldens): whole, in chunks, in parallel, in company.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <tuple>

#include "worker/model/golden_cases.h"
#include "worker/model/model_fixture.h"

namespace quire::worker {
namespace {

constexpr float kParallelTolerance = 1e-5f;  // of eight ranks against one

std::vector<float> Flat(const LogitRows& rows) {
  std::vector<float> flat;
  for (const auto& row : rows) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

class GoldenTest : public ::testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  FixtureOptions Options() const {
    FixtureOptions options = OptionsOf(case_, golden_);
    options.reference = std::get<1>(GetParam());
    return options;
  }
  GoldenCase case_ = GoldenCases()[std::get<0>(GetParam())];
  Golden golden_ = ReadGolden(GoldenDir(case_.golden) + "/golden.safetensors");
};

TEST_P(GoldenTest, LogitsEqualTransformersWholeAndInChunks) {
  auto fixture = MustLoad(Options());
  for (const int length : kGoldenLengths) {
    const std::vector<int32_t> prompt = Prompt(golden_, length);
    const std::vector<float>& expected = golden_.at("logits_" + std::to_string(length));
    for (const size_t chunk : {256, 1, 5, 16, 64}) {
      EXPECT_LT(MaxDifference(Prefill(fixture.get(), 0, prompt, chunk), expected), kGoldenTolerance)
          << length << " tokens in chunks of " << chunk;
    }
  }
}

TEST(ShardedGoldenTest, ShardedFilesEqualTheSingleFileBitForBit) {
  FixtureOptions options;
  options.model_dir = GoldenDir("llama_gqa");
  auto single = MustLoad(options);
  options.model_dir = GoldenDir("llama_gqa_sharded");
  auto sharded = MustLoad(options);
  const std::vector<int32_t> prompt = Prompt(ReadGolden(GoldenDir("llama_gqa") + "/golden.safetensors"), 24);
  EXPECT_EQ(Prefill(single.get(), 0, prompt, 24), Prefill(sharded.get(), 0, prompt, 24));
}

// A step may ask for some rows or for none: those asked for have the bits that they always have.
TEST(LogitRowsTest, UnwantedRowsDoNotChangeWantedOnes) {
  FixtureOptions options;
  options.model_dir = GoldenDir("llama_gqa");
  auto fixture = MustLoad(options);
  const std::vector<int32_t> prompt = Prompt(ReadGolden(GoldenDir("llama_gqa") + "/golden.safetensors"), 24);
  const LogitRows all = Prefill(fixture.get(), 0, prompt, 24);
  EXPECT_TRUE(fixture->Step({}).empty());
  const LogitRows last = fixture->Step({{1, prompt, SequenceChunk::kLastRow}, {2, prompt, SequenceChunk::kNoRow}});
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0], all[23]);
  EXPECT_TRUE(fixture->Step({{3, {prompt.begin(), prompt.begin() + 20}, SequenceChunk::kNoRow}}).empty());
  const LogitRows rest = fixture->Step({{3, {prompt.begin() + 20, prompt.end()}}});
  EXPECT_EQ(rest, LogitRows(all.begin() + 20, all.end())) << "a step without rows still fills the cache";
}

// Rows that are asked for after the step, some at a time, as often as one likes (the fixture compares).
TEST_P(GoldenTest, RowsInSlicesHaveTheSameBits) {
  for (const int world_size : {1, 2}) {
    for (const int slice_rows : {1, 7, 64}) {
      FixtureOptions options = Options();
      options.world_size = world_size;
      options.slice_rows = slice_rows;
      auto fixture = MustLoad(options);
      EXPECT_EQ(Prefill(fixture.get(), 0, Prompt(golden_, 200), 90).size(), 200u);
    }
  }
}

// Weights and cache in bfloat16: every row still points where the float32 one does.
TEST_P(GoldenTest, LoadsInBfloat16) {
  FixtureOptions options = Options();
  options.dtype = "bfloat16";
  auto fixture = MustLoad(options);
  EXPECT_EQ(fixture->facts().dtype, "bfloat16");
  const LogitRows rows = Prefill(fixture.get(), 0, Prompt(golden_, 24), 24);
  EXPECT_GT(MinCosine(rows, golden_.at("logits_24")), kGoldenCosine);
}

TEST_P(GoldenTest, GreedyTokensEqualTransformers) {
  auto fixture = MustLoad(Options());
  for (const int length : {7, 24}) {
    fixture->Restart(1);
    EXPECT_EQ(fixture->Greedy(1, Prompt(golden_, length), 64), ToIds(golden_.at("greedy_" + std::to_string(length))));
  }
  EXPECT_EQ(fixture->num_collectives(0), 0) << "one rank needs no collective";
}

TEST_P(GoldenTest, TensorParallelDegreesAgree) {
  auto single = MustLoad(Options());
  const std::vector<int32_t> prompt = Prompt(golden_, 200);
  const LogitRows alone = Prefill(single.get(), 0, prompt, 64);
  for (const int world_size : {2, 4, 8}) {
    if (world_size == 8 && case_.golden != "llama_gqa") continue;  // the others have 4 heads
    FixtureOptions options = Options();
    options.world_size = world_size;
    auto group = MustLoad(options);
    const LogitRows together = Prefill(group.get(), 0, prompt, 64);
    if (world_size <= 4) {
      EXPECT_EQ(together, alone) << world_size << " ranks";  // every bit: docs/decisions/0018
    } else {
      EXPECT_LT(MaxDifference(together, Flat(alone)), kParallelTolerance) << world_size << " ranks";
    }
    group->Restart(1);
    EXPECT_EQ(group->Greedy(1, Prompt(golden_, 24), 64), ToIds(golden_.at("greedy_24"))) << world_size << " ranks";
    EXPECT_GT(group->num_collectives(world_size - 1), 0);
  }
}

// Five sequences of mixed lengths, each alone and whole, then all together in chunks of mixed sizes.
void ExpectCompanyChangesNoBit(ModelFixture* fixture, const std::vector<int32_t>& source) {
  const size_t lengths[] = {1, 17, 33, 80, 200};
  std::vector<LogitRows> alone;
  for (int s = 0; s < 5; ++s) {
    alone.push_back(Prefill(fixture, s, {source.begin(), source.begin() + lengths[s]}, 256));
    fixture->Restart(s);
  }
  // Together: in each step every sequence that is not done brings a chunk of its own size.
  std::vector<LogitRows> together(5);
  for (bool more = true; more;) {
    std::vector<SequenceChunk> chunks;
    for (int s = 0; s < 5; ++s) {
      const size_t begin = together[s].size(), size = std::min<size_t>(1 + 7 * s, lengths[s] - begin);
      if (size > 0) chunks.push_back({s, {source.begin() + begin, source.begin() + begin + size}});
    }
    more = !chunks.empty();
    if (!more) break;
    LogitRows rows = fixture->Step(chunks);
    size_t row = 0;
    for (const SequenceChunk& chunk : chunks) {
      for (size_t i = 0; i < chunk.token_ids.size(); ++i) together[chunk.sequence_id].push_back(rows[row++]);
    }
  }
  for (int s = 0; s < 5; ++s) EXPECT_EQ(together[s], alone[s]) << "sequence " << s << " of " << lengths[s] << " tokens";
}

TEST_P(GoldenTest, BatchAndChunksDoNotChangeABit) {
  for (const int world_size : {1, 2}) {
    FixtureOptions options = Options();
    options.world_size = world_size;
    options.num_threads = world_size;  // the number of threads must not show either
    ExpectCompanyChangesNoBit(MustLoad(options).get(), Prompt(golden_, 200));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest,
                         ::testing::Combine(::testing::Range(0, static_cast<int>(GoldenCases().size())),
                                            ::testing::Bool()),
                         [](const auto& info) {
                           return GoldenCases()[std::get<0>(info.param)].model +
                                  (std::get<1>(info.param) ? "_reference" : "_fast");
                         });

// The longest context that is served decides between the lists: for all requests, however short.
TEST(LongRopeTest, ContextsUpToTheOriginalOneTakeTheShortFactors) {
  const Golden golden = ReadGolden(GoldenDir("phi3_longrope") + "/golden.safetensors");
  FixtureOptions options;
  options.model_dir = GoldenDir("phi3_longrope");
  for (const int longest : {0, 33, 32, 24}) {
    options.max_model_len = longest;
    auto fixture = MustLoad(options);
    EXPECT_EQ(fixture->facts().max_model_len, longest == 0 ? 320 : longest);
    const bool is_long = longest == 0 || longest > 32;
    const LogitRows rows = Prefill(fixture.get(), 0, Prompt(golden, 24), 7);
    EXPECT_LT(MaxDifference(rows, golden.at(is_long ? "logits_24" : "short_logits_24")), kGoldenTolerance) << longest;
    EXPECT_GT(MaxDifference(rows, golden.at(is_long ? "short_logits_24" : "logits_24")), 100 * kGoldenTolerance);
  }
}

// The longest context that is served sets the rope's base, for all requests; where it is within the training's, nothing
// changes.
TEST(GrowingRopeTest, ContextsWithinTheTrainedLengthKeepEveryBit) {
  for (const char* model : {"rope_dynamic_beyond", "qwen_beyond"}) {
    const Golden golden = ReadGolden(GoldenDir(model) + "/golden.safetensors");
    const std::vector<int32_t> prompt = Prompt(golden, 24);
    FixtureOptions options;
    options.model_dir = GoldenDir(model);
    auto fixture = MustLoad(options);
    EXPECT_EQ(fixture->facts().max_model_len, 64) << "as far as the model was trained";
    const LogitRows within = Prefill(fixture.get(), 0, prompt, 7);
    for (const int longest : {24, 63, 64}) {
      options.max_model_len = longest;
      auto shorter = MustLoad(options);
      EXPECT_EQ(shorter->facts().max_model_len, longest);
      EXPECT_EQ(Prefill(shorter.get(), 0, prompt, 7), within) << longest;
    }
    for (const int longest : {65, 320}) {
      options.max_model_len = longest;
      auto longer = MustLoad(options);
      EXPECT_EQ(longer->facts().max_model_len, longest);
      EXPECT_NE(Prefill(longer.get(), 0, prompt, 7), within) << longest;
    }
    EXPECT_GT(MaxDifference(within, golden.at("logits_24")), 100 * kGoldenTolerance) << "growth does not show";
  }
}

class Bf16GoldenTest : public ::testing::TestWithParam<bool> {};

TEST_P(Bf16GoldenTest, ClearArgmaxEqualsTransformers) {
  FixtureOptions options;
  options.model_dir = GoldenDir("llama_gqa_bf16");
  options.reference = GetParam();
  auto fixture = MustLoad(options);
  EXPECT_EQ(fixture->facts().dtype, "bfloat16");
  const Golden golden = ReadGolden(options.model_dir + "/golden.safetensors");
  for (const int length : kGoldenLengths) {
    const std::string suffix = std::to_string(length);
    const LogitRows rows = Prefill(fixture.get(), 0, Prompt(golden, length), 64);
    const std::vector<float>& expected = golden.at("bf16_logits_" + suffix);
    for (const int32_t position : ToIds(golden.at("bf16_clear_" + suffix))) {
      const auto begin = expected.begin() + position * rows[0].size();
      EXPECT_EQ(ArgMax(rows[position]), ArgMax({begin, begin + rows[0].size()})) << suffix << " at " << position;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, Bf16GoldenTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "reference" : "fast"; });

}  // namespace
}  // namespace quire::worker
