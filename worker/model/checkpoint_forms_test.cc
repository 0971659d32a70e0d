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

}  // namespace
}  // namespace quire::worker
