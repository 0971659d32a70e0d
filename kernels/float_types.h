// The 16-bit float types that weights and caches are stored in, by arithmetic on bits alone. Leaf; any thread, any
// device.
//
// Invariants:
//   H1  Widening is exact; narrowing rounds to nearest, ties to even, keeps infinities, and a NaN stays a (quiet) NaN.
#ifndef QUIRE_KERNELS_FLOAT_TYPES_H_
#define QUIRE_KERNELS_FLOAT_TYPES_H_

#include <cstdint>
#include <cstring>

#include "kernels/host_device.h"

namespace quire::kernels {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

QUIRE_HD inline uint32_t FloatBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

QUIRE_HD inline float FloatFromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

QUIRE_HD inline float Widen(float value) { return value; }
QUIRE_HD inline float Widen(BFloat16 value) { return FloatFromBits(static_cast<uint32_t>(value.bits) << 16); }

QUIRE_HD inline float Widen(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
  const uint32_t exponent = (value.bits >> 10) & 0x1fu;
  const uint32_t mantissa = value.bits & 0x3ffu;
  if (exponent == 31) return FloatFromBits(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return FloatFromBits(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // zero or subnormal; exact
  return FloatFromBits(sign | FloatBits(magnitude));
}

template <typename T>
QUIRE_HD T Narrow(float value);

template <>
QUIRE_HD inline float Narrow<float>(float value) {
  return value;
}

template <>
QUIRE_HD inline BFloat16 Narrow<BFloat16>(float value) {
  const uint32_t bits = FloatBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <>
QUIRE_HD inline Float16 Narrow<Float16>(float value) {
  const uint32_t bits = FloatBits(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65520 and up round to infinity
  if (magnitude < 0x38800000u) {  // below 2^-14: let the float adder round to a multiple of 2^-24
    const float shifted = FloatFromBits(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (FloatBits(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_FLOAT_TYPES_H_
