// Layers with experts on several ranks: whether the ranks share out every expert's columns or the experts, and on how
// many of them, the bits are those of one rank.
#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "worker/model/model_fixture.h"
#include "worker/model/test_model_files.h"

namespace quire::worker {
namespace {

using ::testing::HasSubstr;

std::string Dir(const std::string& name) { return "tests/goldens/" + name; }

absl::Status StatusOf(const FixtureOptions& options) { return ModelFixture::Load(options).status(); }

LogitRows RowsOf(const FixtureOptions& options, const std::vector<int32_t>& prompt) {
  auto fixture = ModelFixture::Load(options);
  CHECK(fixture.ok()) << fixture.status();
  LogitRows rows = (*fixture)->Step({{0, prompt}});
  // The same prompt in two chunks and in company: expert's rows are then others.
  (*fixture)->Restart(1);
  const auto middle = prompt.begin() + prompt.size() / 3;
  LogitRows chunked = (*fixture)->Step({{1, {prompt.begin(), middle}}, {2, prompt, SequenceChunk::kNoRow}});
  for (auto& row : (*fixture)->Step({{1, {middle, prompt.end()}}})) chunked.push_back(row);
  EXPECT_TRUE(chunked == rows) << options.world_size << " ranks: chunks and company changed a bit";
  return rows;
}

class ExpertsTest : public ::testing::TestWithParam<std::tuple<const char*, bool>> {};

TEST_P(ExpertsTest, SameBitsHoweverTheRanksShare) {
  FixtureOptions options;
  options.model_dir = Dir(std::get<0>(GetParam()));
  options.reference = std::get<1>(GetParam());
  const std::vector<int32_t> prompt = ToIds(ReadGolden(options.model_dir + "/golden.safetensors").at("prompt_200"));
  const LogitRows alone = RowsOf(options, prompt);
  for (const int world_size : {1, 2, 4}) {
    for (const bool expert_parallel : {false, true}) {
      options.world_size = world_size;
      options.expert_parallel = expert_parallel;
      options.num_threads = world_size == 2 ? 3 : 1;
      EXPECT_TRUE(RowsOf(options, prompt) == alone)
          << world_size << " ranks share out " << (expert_parallel ? "experts" : "columns");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ExpertsTest,
                         ::testing::Combine(::testing::Values("mixtral", "qwen2_moe", "qwen3_moe"), ::testing::Bool()),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "_reference" : "_fast");
                         });

// Degrees that no quarter fits give sums of their own, close by.
TEST(ExpertParallelTest, AnyDegreeAgrees) {
  FixtureOptions options;
  options.model_dir = Dir("qwen3_moe");
  const std::vector<int32_t> prompt = ToIds(ReadGolden(options.model_dir + "/golden.safetensors").at("prompt_24"));
  const LogitRows alone = RowsOf(options, prompt);
  for (const int world_size : {3, 6}) {
    for (const bool expert_parallel : {false, true}) {
      options.world_size = world_size;
      options.expert_parallel = expert_parallel;
      const LogitRows rows = RowsOf(options, prompt);
      for (size_t r = 0; r < rows.size(); ++r) {
        for (size_t i = 0; i < rows[r].size(); ++i) {
          ASSERT_NEAR(rows[r][i], alone[r][i], 1e-5) << world_size << " ranks, " << r << "," << i;
        }
      }
    }
  }
}

TEST(ExpertParallelTest, RefusesWhatDoesNotFit) {
  FixtureOptions options;
  options.model_dir = Dir("llama_gqa");
  options.expert_parallel = true;
  EXPECT_TRUE(absl::IsInvalidArgument(StatusOf(options)));
  EXPECT_THAT(std::string(StatusOf(options).message()), HasSubstr("the model has no experts"));
  options.model_dir = Dir("qwen3_moe");
  options.world_size = 12;
  EXPECT_TRUE(absl::IsInvalidArgument(StatusOf(options)));
  EXPECT_THAT(std::string(StatusOf(options).message()),
              HasSubstr("expert parallel degree 12 is larger than the number of experts of 8"));
}

TEST(ExpertsConfigTest, WrongValuesAreRefusedByName) {
  const struct {
    const char* key;
    nlohmann::json value;
    const char* message;
  } cases[] = {
      {"num_local_experts", 0, "'num_local_experts' is 0"},
      {"num_local_experts", 2.5, "'num_local_experts' is 2.5"},
      {"num_local_experts", nullptr, "'num_experts' is missing"},
      {"num_local_experts", 4097, "'num_local_experts' is 4097, must be an integer in [1, 4096]"},
      {"num_experts_per_tok", 6, "'num_experts_per_tok' is 6, there are 5 experts"},
      {"num_experts_per_tok", nullptr, "'num_experts_per_tok' is missing"},
      {"num_local_experts", 6, "block_sparse_moe.gate.weight"},
      {"intermediate_size", 3, "'intermediate_size' is 3, must be an integer in [4, "},
  };
  for (const auto& c : cases) {
    ModelFiles files("mixtral");
    files.config[c.key] = c.value;
    FixtureOptions options;
    options.model_dir = WriteDir("experts_config", files);
    EXPECT_TRUE(absl::IsInvalidArgument(StatusOf(options))) << c.key;
    EXPECT_THAT(std::string(StatusOf(options).message()), HasSubstr(c.message));
  }
}

// A config alone must not make a load take memory.
TEST(ExpertsConfigTest, MoreExpertsThanAnyModelHasAreRefused) {
  ModelFiles files("mixtral");
  files.config["num_local_experts"] = 4096;
  files.config["num_hidden_layers"] = 1000;
  FixtureOptions options;
  options.model_dir = WriteDir("experts_many", files);
  EXPECT_TRUE(absl::IsInvalidArgument(StatusOf(options)));
  EXPECT_THAT(std::string(StatusOf(options).message()), HasSubstr("4096 experts in each of 1000 layers"));
}

TEST(ExpertsConfigTest, WindowsOfSomeLayersAreRefusedByName) {
  ModelFiles files("qwen2_moe");
  files.config["use_sliding_window"] = true;
  files.config["sliding_window"] = 8;
  FixtureOptions options;
  options.model_dir = WriteDir("experts_window", files);
  EXPECT_TRUE(absl::IsUnimplemented(StatusOf(options)));
  EXPECT_THAT(std::string(StatusOf(options).message()), HasSubstr("'use_sliding_window' true is not supported"));
}

// One token reads the chosen experts only.
TEST(ExpertsFactsTest, CountWhatATokenReads) {
  FixtureOptions options;
  options.model_dir = Dir("mixtral");
  auto fixture = ModelFixture::Load(options);
  ASSERT_TRUE(fixture.ok()) << fixture.status();
  const int64_t hidden = 32, attention = 2 * hidden * hidden + 2 * hidden * hidden / 2, head = 67 * hidden;
  const int64_t experts = 2 * 3 * 24 * hidden, router = 5 * hidden;
  EXPECT_NEAR((*fixture)->facts().flops_per_token, 2.0 * (head + 2 * (attention + experts + router)), 64);
}

}  // namespace
}  // namespace quire::worker
