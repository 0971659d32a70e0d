// Inspections of the golden models and of directories that lie in several ways at once.
#include "worker/model/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "kernels/tensor_view.h"
#include "worker/model/model_fixture.h"
#include "worker/model/test_model_files.h"
#include "worker/model/zero_count.h"

namespace quire::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

InspectReport Inspect(const std::string& dir, int world_size = 1, bool count_zeros = false) {
  InspectOptions options;
  options.model_dir = dir;
  options.world_size = world_size;
  options.count_zeros = count_zeros;
  return InspectModel(options);
}

// The oracle backend pads nothing: what it packs is what the inspection says.
TEST(InspectTest, SizesAreThoseOfTheLoadedModel) {
  for (const char* name : {"llama_gqa", "llama_gqa_bf16", "llama_tied", "gpt2", "falcon_new", "gpt_bigcode", "phi3",
                           "checkpoints/bin_qwen2", "checkpoints/quantized_nf4"}) {
    SCOPED_TRACE(name);
    const std::string dir = absl::StrCat("tests/goldens/", name);
    for (const int world_size : {1, 2}) {
      const InspectReport report = Inspect(dir, world_size);
      EXPECT_THAT(report.problems, ElementsAre());
      ASSERT_EQ(report.ranks.size(), static_cast<size_t>(world_size));
      FixtureOptions options;
      options.model_dir = dir;
      options.world_size = world_size;
      options.reference = true;
      auto fixture = ModelFixture::Load(options);
      ASSERT_TRUE(fixture.ok()) << fixture.status();
      EXPECT_EQ(report.dtype, (*fixture)->facts().dtype);
      for (int rank = 0; rank < world_size; ++rank) {
        EXPECT_EQ(report.ranks[rank].matrix_bytes, (*fixture)->model(rank).facts().weight_bytes) << rank;
        EXPECT_EQ(report.ranks[rank].kv_token_bytes * 16, (*fixture)->model(rank).CacheLayout(16).block_bytes());
      }
    }
  }
}

TEST(InspectTest, SaysWhatTheFilesHold) {
  const InspectReport report = Inspect("tests/goldens/llama_tied");
  EXPECT_THAT(report.architectures, ElementsAre("LlamaForCausalLM"));
  EXPECT_TRUE(report.family_is_known);
  ASSERT_TRUE(report.spec.has_value());
  EXPECT_EQ(report.spec->vocab_size, 99);
  EXPECT_EQ(report.file_bytes, 222720);
  EXPECT_EQ(report.tensors[0].name, "model.embed_tokens.weight");
  EXPECT_EQ(report.tensors[0].shape, "F32[99,48]");
  EXPECT_EQ(report.ranks[0].mapped_bytes, 99 * 48 * 4);
  const InspectReport quantised = Inspect("tests/goldens/checkpoints/quantized_gptq");
  EXPECT_EQ(quantised.quantization, "gptq, 4 bit");
  const std::vector<InspectedTensor>& tensors = quantised.tensors;
  const auto query = std::find_if(tensors.begin(), tensors.end(), [](const InspectedTensor& tensor) {
    return tensor.name == "model.layers.0.self_attn.q_proj.weight";
  });
  ASSERT_NE(query, tensors.end());
  EXPECT_EQ(query->shape, "F32[32,32], computed");
  EXPECT_EQ(query->file_bytes, 32 * 32 / 2 + 32 / 2 + 32 * 2 + 32 * 4) << "words, zero points, scales, groups";
}

// Everything at once: values that are not built, one missing, one misshapen and one unknown tensor.
TEST(InspectTest, ComplaintsAreAllThere) {
  ModelFiles files("llama_tied");
  files.config["hidden_act"] = "xielu";
  files.config["rope_scaling"] = {{"rope_type", "spiral"}, {"factor", 2.0}};
  files.config["add_cross_attention"] = true;
  files.header["model.layers.0.mlp.up_proj.weight"]["shape"] = {48, 112};
  files.header["model.layers.0.mlp.up_proj.bogus"] = files.header["model.layers.1.mlp.down_proj.weight"];
  files.header.erase("model.layers.1.mlp.down_proj.weight");
  const InspectReport report = Inspect(WriteDir("inspect_all", files));
  std::string all;
  for (const std::string& line : report.problems) absl::StrAppend(&all, line, "\n");
  EXPECT_THAT(all, HasSubstr("'xielu'"));
  EXPECT_THAT(all, HasSubstr("'spiral'"));
  EXPECT_THAT(all, HasSubstr("'add_cross_attention'"));
  EXPECT_THAT(all, HasSubstr("'model.layers.1.mlp.down_proj.weight' is missing"));
  EXPECT_THAT(all, HasSubstr("'model.layers.0.mlp.up_proj.weight' is F32[48,112]"));
  EXPECT_THAT(all, HasSubstr("'model.layers.0.mlp.up_proj.bogus'"));
  EXPECT_TRUE(report.ranks.empty());
}

TEST(InspectTest, UnknownFamiliesStillShowTheirTensors) {
  ModelFiles files("llama_tied");
  files.config["architectures"] = {"RwkvForCausalLM"};
  const InspectReport report = Inspect(WriteDir("inspect_unknown", files));
  EXPECT_FALSE(report.family_is_known);
  EXPECT_THAT(report.problems, ElementsAre(HasSubstr("'RwkvForCausalLM' is not supported")));
  EXPECT_GT(report.tensors.size(), 10u);
  const InspectReport nothing = Inspect(MakeDir("inspect_nothing"));
  EXPECT_EQ(nothing.problems.size(), 2u) << "no config, no weights";
}

TEST(InspectTest, DegreesThatDoNotFitAreNamed) {
  const InspectReport report = Inspect("tests/goldens/llama_gqa", 3);
  EXPECT_THAT(report.problems, ElementsAre(HasSubstr("degree 3")));
}

TEST(InspectTest, ZerosAreCounted) {
  ModelFiles files("llama_tied");
  const auto& offsets = files.header["model.layers.0.mlp.up_proj.weight"]["data_offsets"];
  const int64_t begin = offsets[0], end = offsets[1];
  for (int64_t at = begin; at < begin + (end - begin) / 2; at += 4) files.data.replace(at, 4, 4, '\0');
  const InspectReport report = Inspect(WriteDir("inspect_zeros", files), 1, true);
  for (const InspectedTensor& tensor : report.tensors) {
    EXPECT_DOUBLE_EQ(tensor.zero_share, tensor.name == "model.layers.0.mlp.up_proj.weight" ? 0.5 : 0.0) << tensor.name;
  }
  EXPECT_DOUBLE_EQ(report.zero_share, static_cast<double>(end - begin) / 2 / 222720);
  EXPECT_EQ(Inspect("tests/goldens/llama_tied").zero_share, -1.0);
  // Loading says so too: of all matrices, the tied head among them.
  FixtureOptions options;
  options.model_dir = WriteDir("inspect_zeros", files);
  auto fixture = ModelFixture::Load(options);
  ASSERT_TRUE(fixture.ok()) << fixture.status();
  EXPECT_DOUBLE_EQ((*fixture)->facts().zero_share, (end - begin) / 8.0 / ((222720 - 5 * 48 * 4) / 4.0));
}

TEST(ZeroCountTest, EveryTypeAndStride) {
  const float floats[] = {0.0f, -0.0f, 1.0f, 1e-45f, 0.0f, 3.0f};
  const kernels::TensorView view = kernels::MakeView(const_cast<float*>(floats), kernels::DType::kF32, {2, 3});
  EXPECT_EQ(CountZeros(view), 3);
  EXPECT_EQ(CountZeros(kernels::Transpose(view)), 3);
  EXPECT_EQ(CountZeros(kernels::SliceCols(view, 1, 2)), 2);
  const uint16_t halves[] = {0x8000, 0x0001, 0, 0x7c00};
  EXPECT_EQ(CountZeros(kernels::MakeView(const_cast<uint16_t*>(halves), kernels::DType::kBF16, {4})), 2);
}

}  // namespace
}  // namespace quire::worker
