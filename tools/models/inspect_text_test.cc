#include "tools/models/inspect_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quire::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using worker::InspectOptions;
using worker::InspectReport;

TEST(InspectTextTest, TokensFitInWholeBlocksBesideTheWeights) {
  worker::InspectedRank rank;
  rank.matrix_bytes = 900;
  rank.vector_bytes = 100;
  rank.mapped_bytes = 1 << 20;  // of the page cache
  rank.kv_token_bytes = 10;
  EXPECT_EQ(TokensThatFit(rank, 1000 + 160 * 3, 16), 48);
  EXPECT_EQ(TokensThatFit(rank, 1000 + 160 * 3 - 1, 16), 32);
  EXPECT_EQ(TokensThatFit(rank, 1000, 16), 0);
  EXPECT_EQ(TokensThatFit(rank, 10, 16), 0);
  EXPECT_EQ(TokensThatFit(rank, 0, 16), 0);
}

TEST(InspectTextTest, GoldenModelsAreDescribed) {
  InspectOptions options;
  options.model_dir = "tests/goldens/checkpoints/quantized_gptq";
  options.world_size = 2;
  options.count_zeros = true;
  InspectTextOptions text;
  text.memory_bytes = 1 << 20;
  const InspectReport report = InspectModel(options);
  const std::string shown = InspectText(report, text);
  EXPECT_THAT(shown, HasSubstr("Qwen2ForCausalLM, model_type 'qwen2': known"));
  EXPECT_THAT(shown, HasSubstr("1 layers, hidden 32, 4 heads on 2 key heads of 8, mlp 56 gated, vocabulary 67"));
  EXPECT_THAT(shown, HasSubstr("8 F32 of 17792 bytes, 7 F32 (computed) of 5896 bytes"));
  EXPECT_THAT(shown, HasSubstr("gptq, 4 bit; widened on load"));
  EXPECT_THAT(shown, HasSubstr("% of all weights"));
  // One key head of 8 elements, keys and values, float32.
  EXPECT_THAT(shown, HasSubstr("cache 64 bytes per token, 1024 bytes per block of 16"));
  EXPECT_THAT(shown, HasSubstr("1.0 MiB per rank hold the weights and "));
  EXPECT_THAT(shown, Not(HasSubstr("lm_head.weight")));
  text.list_tensors = true;
  EXPECT_THAT(InspectText(report, text), HasSubstr("  lm_head.weight  F32[67,32]  8576 bytes"));
}

TEST(InspectTextTest, UnknownFamiliesAreCalledSo) {
  InspectReport report;
  report.model_type = "rwkv";
  EXPECT_THAT(InspectText(report, {}), HasSubstr("no architectures, model_type 'rwkv': UNKNOWN"));
}

}  // namespace
}  // namespace quire::tools
