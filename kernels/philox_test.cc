#include "kernels/philox.h"

#include "gtest/gtest.h"

namespace quire::kernels {
namespace {

struct Vector {
  uint64_t key;
  PhiloxBlock counter;
  PhiloxBlock expected;
};

// The three published vectors of Random123 for philox4x32, 10 rounds.
constexpr Vector kVectors[] = {
    {0, {{0, 0, 0, 0}}, {{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u}}},
    {0xffffffffffffffffull,
     {{0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}},
     {{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu}}},
    {0x299f31d0a4093822ull,
     {{0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}},
     {{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u}}},
};

TEST(Philox, PublishedVectors) {
  for (const Vector& v : kVectors) {
    const PhiloxBlock got = Philox4x32(v.key, v.counter);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(got.lane[i], v.expected.lane[i]) << "lane " << i;
  }
}

TEST(Philox, EveryCoordinateOfADrawMatters) {
  const PhiloxBlock base = DrawNoise(7, 1, 2, 3);
  EXPECT_NE(base.lane[0], DrawNoise(8, 1, 2, 3).lane[0]);
  EXPECT_NE(base.lane[0], DrawNoise(7, 2, 2, 3).lane[0]);
  EXPECT_NE(base.lane[0], DrawNoise(7, 1, 3, 3).lane[0]);
  EXPECT_NE(base.lane[0], DrawNoise(7, 1, 2, 4).lane[0]);
  EXPECT_EQ(base.lane[0], DrawNoise(7, 1, 2, 3).lane[0]);
}

static_assert(Philox4x32(0, {{0, 0, 0, 0}}).lane[0] == 0x6627e8d5u, "usable in constant expressions");

}  // namespace
}  // namespace quire::kernels
