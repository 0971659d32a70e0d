#include "worker/model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>

namespace quire::worker {
namespace {

RopeSpec Spec() {
  RopeSpec rope;
  rope.dims = 8;
  rope.theta = 10000.0;
  return rope;
}

TEST(RopeFrequenciesTest, PlainAndLinear) {
  RopeSpec rope = Spec();
  const std::vector<float> plain = RopeFrequencies(rope);
  ASSERT_EQ(plain.size(), 4u);
  const float expected[] = {1.0f, 0.1f, 0.01f, 0.001f};  // 10000^(-2i / 8)
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(plain[i], expected[i]);
  rope.scaling = RopeScaling::kLinear;
  rope.factor = 4.0;
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(RopeFrequencies(rope)[i], expected[i] / 4);
}

TEST(RopeFrequenciesTest, Llama3KeepsShortBlendsMiddleAndStretchesLongWaves) {
  RopeSpec rope = Spec();
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 8.0;
  rope.low_freq_factor = 1.0;
  rope.high_freq_factor = 4.0;
  rope.original_max_position = 100;  // waves under 25 stay, over 100 stretch; the lengths are 6.28, 62.8, 628, 6283
  const std::vector<float> frequencies = RopeFrequencies(rope);
  EXPECT_FLOAT_EQ(frequencies[0], 1.0f);
  const double smooth = (100.0 / (2 * M_PI / 0.1) - 1.0) / 3.0;
  EXPECT_NEAR(frequencies[1], (1 - smooth) * 0.1 / 8 + smooth * 0.1, 1e-7);
  EXPECT_FLOAT_EQ(frequencies[2], 0.01f / 8);
  EXPECT_FLOAT_EQ(frequencies[3], 0.001f / 8);
}

TEST(RopeTableTest, RowsAreFilledAsFarAsReachedAndNoFurther) {
  auto backend = kernels::CreateCpuBackend({});
  ASSERT_TRUE(backend.ok());
  auto table = RopeTable::Create(Spec(), /*max_position=*/2500, /*grows_beyond=*/0, backend->get());
  ASSERT_TRUE(table.ok());
  const float* rows = (*table)->cos_sin().as<float>();
  const auto expect_row = [&](int64_t position) {
    for (int i = 0; i < 4; ++i) {
      const double angle = position * std::pow(10000.0, -2 * i / 8.0);
      EXPECT_NEAR(rows[position * 8 + i], std::cos(angle), 2e-4) << position;
      EXPECT_NEAR(rows[position * 8 + 4 + i], std::sin(angle), 2e-4) << position;
    }
  };
  for (const int64_t position : {0, 1023, 1024, 7, 2499}) {
    EXPECT_TRUE((*table)->Reach(position).ok());
    expect_row(position);
  }
  EXPECT_DEATH((void)(*table)->Reach(2500), "2500");
}

TEST(RopeTableTest, RowsGrowByTheLogarithmOfTheirPositionBeyondALength) {
  auto backend = kernels::CreateCpuBackend({});
  ASSERT_TRUE(backend.ok());
  constexpr int64_t kBeyond = 64;
  auto plain = RopeTable::Create(Spec(), 200, 0, backend->get()),
       grown = RopeTable::Create(Spec(), 200, kBeyond, backend->get());
  ASSERT_TRUE(plain.ok() && grown.ok());
  ASSERT_TRUE((*plain)->Reach(199).ok() && (*grown)->Reach(199).ok());
  for (int64_t position = 0; position < 200; ++position) {
    const double factor = position + 1 > kBeyond ? std::log(position + 1.0) / std::log(1.0 * kBeyond) : 1.0;
    for (int i = 0; i < 8; ++i) {
      const float was = (*plain)->cos_sin().as<float>()[position * 8 + i];
      const float is = (*grown)->cos_sin().as<float>()[position * 8 + i];
      if (position < kBeyond) EXPECT_EQ(is, was) << position;
      EXPECT_NEAR(is, was * factor, 1e-6) << position;
    }
  }
}

}  // namespace
}  // namespace quire::worker
