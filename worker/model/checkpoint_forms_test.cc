// Models whose weights lie in another form of checkpoint (tests/goldens/checkpoints) beside the same model in
// safetensors.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include "worker/model/model_fixture.h"

namespace quire::worker {
namespace {

std::unique_ptr<ModelFixture> MustLoad(const std::string& dir, int world_size) {
  FixtureOptions options;
  options.model_dir = dir;
  options.world_size = world_size;
  auto fixture = ModelFixture::Load(options);
  CHECK(fixture.ok()) << fixture.status();
  return std::move(*fixture);
}

TEST(CheckpointFormsTest, TorchShardsGiveTheSameBits) {
  const std::vector<int32_t> prompt = ToIds(ReadGolden("tests/goldens/qwen2/golden.safetensors").at("prompt_24"));
  for (const int world_size : {1, 2}) {
    auto expected = MustLoad("tests/goldens/qwen2", world_size);
    auto actual = MustLoad("tests/goldens/checkpoints/bin_qwen2", world_size);
    EXPECT_EQ(actual->facts().dtype, "float32");
    EXPECT_EQ(actual->facts().weight_bytes, expected->facts().weight_bytes);
    EXPECT_EQ(actual->Step({{0, prompt}}), expected->Step({{0, prompt}})) << world_size << " ranks";
  }
}

// The goldens are the library's logits for the model with the floats that the integers stand for.
TEST(CheckpointFormsTest, QuantisedModelsGiveTheLogitsOfTheirFloats) {
  for (const char* name : {"gptq", "awq", "packed", "int8", "fp8", "nf4", "bnb8", "gptq_conv1d"}) {
    SCOPED_TRACE(name);
    const std::string dir = std::string("tests/goldens/checkpoints/quantized_") + name;
    const auto golden = ReadGolden(dir + "/golden.safetensors");
    const std::vector<int32_t> prompt = ToIds(golden.at("prompt"));
    const std::vector<float>& expected = golden.at("logits");
    LogitRows single;
    for (const int world_size : {1, 2}) {
      auto fixture = MustLoad(dir, world_size);
      EXPECT_EQ(fixture->facts().dtype, "float32") << "the embedding's";
      const LogitRows rows = fixture->Step({{0, prompt}});
      ASSERT_EQ(rows.size(), prompt.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        ASSERT_NEAR(rows[i / rows[0].size()][i % rows[0].size()], expected[i], 1e-4) << i << ", ranks " << world_size;
      }
      if (world_size == 1) single = rows;
      EXPECT_EQ(rows, single) << "one rank and two have the same bits";
    }
  }
}

// Experts in tensors of their own, each quantised. The same model with the floats that the integers stand for gives the
// same bits.
TEST(CheckpointFormsTest, QuantisedExpertsGiveTheBitsOfTheirFloats) {
  for (const char* name : {"mixtral_awq", "qwen2_moe_gptq", "qwen3_moe_fp8"}) {
    SCOPED_TRACE(name);
    const std::string dir = std::string("tests/goldens/checkpoints/quantized_") + name;
    const auto golden = ReadGolden(dir + "/golden.safetensors");
    const std::vector<int32_t> prompt = ToIds(golden.at("prompt"));
    const std::vector<float>& expected = golden.at("logits");
    const LogitRows dense = MustLoad(dir + "/dense", 1)->Step({{0, prompt}});
    for (const int world_size : {1, 2, 4}) {
      const LogitRows rows = MustLoad(dir, world_size)->Step({{0, prompt}});
      EXPECT_EQ(rows, dense) << world_size << " ranks";
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(dense[i / dense[0].size()][i % dense[0].size()], expected[i], 1e-4) << i;
    }
  }
}

}  // namespace
}  // namespace quire::worker
