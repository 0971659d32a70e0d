// The decoder on a device with memory of its own, against transformers' logits: linked with the backends of a GPU, or with
// the emulator's (kernels/conformance.h).
#include <gtest/gtest.h>

#include "kernels/conformance.h"
#include "worker/model/golden_cases.h"
#include "worker/model/model_fixture.h"

namespace quire::worker {
namespace {

class DeviceGoldenTest : public ::testing::TestWithParam<kernels::BackendUnderTest> {
 protected:
  // The emulator takes its time.
  bool emulated() const { return GetParam().label.rfind("emulated", 0) == 0; }
  std::unique_ptr<ModelFixture> Load(const GoldenCase& one, const Golden& golden, int world_size = 1) const {
    FixtureOptions options = OptionsOf(one, golden);
    options.world_size = world_size;
    options.make_backend = GetParam().make;
    return MustLoad(options);
  }
};

TEST_P(DeviceGoldenTest, LogitsEqualTransformers) {
  for (const GoldenCase& c : GoldenCases()) {
    const Golden golden = ReadGolden(GoldenDir(c.golden) + "/golden.safetensors");
    auto fixture = Load(c, golden);
    for (const int length : kGoldenLengths) {
      if (emulated() && length > 7) continue;
      const std::vector<float>& expected = golden.at("logits_" + std::to_string(length));
      EXPECT_LT(MaxDifference(Prefill(fixture.get(), 0, Prompt(golden, length), 256), expected), kGoldenTolerance)
          << c.model << ", " << length << " tokens";
    }
  }
}

TEST_P(DeviceGoldenTest, GreedyTokensEqualTransformers) {
  for (const GoldenCase& c : GoldenCases()) {
    const Golden golden = ReadGolden(GoldenDir(c.golden) + "/golden.safetensors");
    std::vector<int32_t> expected = ToIds(golden.at("greedy_7"));
    if (emulated()) expected.resize(4);
    auto fixture = Load(c, golden);
    EXPECT_EQ(fixture->Greedy(1, Prompt(golden, 7), static_cast<int>(expected.size())), expected) << c.model;
  }
}

TEST_P(DeviceGoldenTest, ChunksDoNotChangeABit) {
  if (GetParam().rounds_inputs) GTEST_SKIP() << "its products may choose their order by the number of rows";
  const Golden golden = ReadGolden(GoldenDir("llama_gqa") + "/golden.safetensors");
  auto fixture = Load({"llama_gqa", "llama_gqa"}, golden);
  const std::vector<int32_t> prompt = Prompt(golden, emulated() ? 24 : 200);
  const LogitRows whole = Prefill(fixture.get(), 0, prompt, 256);
  for (const size_t chunk : {1, 5, 64}) {
    fixture->Restart(1);
    EXPECT_EQ(Prefill(fixture.get(), 1, prompt, chunk), whole) << "chunks of " << chunk;
  }
}

// With sums in the host's order: docs/decisions/0018, 0031.
TEST_P(DeviceGoldenTest, TwoRanksGiveTheBitsOfOne) {
  if (GetParam().rounds_inputs) GTEST_SKIP() << "its products may choose their order by the shape";
  const Golden golden = ReadGolden(GoldenDir("llama_gqa") + "/golden.safetensors");
  const GoldenCase model = {"llama_gqa", "llama_gqa"};
  auto one = Load(model, golden), two = Load(model, golden, 2);
  const std::vector<int32_t> prompt = Prompt(golden, 7);
  EXPECT_EQ(Prefill(two.get(), 0, prompt, 256), Prefill(one.get(), 0, prompt, 256));
}

INSTANTIATE_TEST_SUITE_P(Backends, DeviceGoldenTest, ::testing::ValuesIn(kernels::BackendsUnderTest()),
                         kernels::BackendLabel);

}  // namespace
}  // namespace quire::worker
