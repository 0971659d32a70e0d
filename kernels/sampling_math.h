// exp and log as the sampler defines them: multiplications, additions and divisions of IEEE f32 in a written order, no
// fused operation, so that a scalar, any vector unit and a GPU give the same bits and so the same token. Leaf; any
// thread.
//
// Invariants:
//   S1  cpu/sampling_kernels.cc repeats these operations lane by lane; sampling_math_test.cc holds both to the same
//       bits.
//   S2  Noise lies in [kMinGumbel, kMaxGumbel]: an id whose score + kMaxGumbel is under another's score + kMinGumbel
//       cannot win.
#ifndef QUIRE_KERNELS_SAMPLING_MATH_H_
#define QUIRE_KERNELS_SAMPLING_MATH_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/float_types.h"
#include "kernels/host_device.h"

namespace quire::kernels {

// exp: x = n * ln 2 + f with n = round(x / ln 2); a polynomial in f; 2^n by exponent bits. kLn2High has 9 significant
// bits, so that n * kLn2High is exact.
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2High = 0.693359375f;
inline constexpr float kLn2Low = -2.12194440e-4f;
inline constexpr float kRoundMagic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
inline constexpr float kExpMin = -87.0f;           // below: 0
inline constexpr float kExpCoefficients[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
// One of them as a value of its own: a GPU cannot read the host's arrays.
template <int i>
inline constexpr float kExpCoefficient = kExpCoefficients[i];

// e^x for x <= 0. Error: under 3 units in the last place; exactly 0 under kExpMin.
QUIRE_HD inline float SamplingExp(float x) {
  if (!(x >= kExpMin)) return 0.0f;
  const float n = (x * kLog2E + kRoundMagic) - kRoundMagic;
  const float f = (x - n * kLn2High) - n * kLn2Low;
  float p = kExpCoefficient<0>;
  p = p * f + kExpCoefficient<1>;
  p = p * f + kExpCoefficient<2>;
  p = p * f + kExpCoefficient<3>;
  p = p * f + kExpCoefficient<4>;
  p = p * f + kExpCoefficient<5>;
  p = p * f + kExpCoefficient<6>;
  return p * FloatFromBits(static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23);
}

// log: x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1) / (m + 1), by its series.
inline constexpr uint32_t kSqrtHalfBits = 0x3f3504f3u;
inline constexpr float kLogCoefficients[] = {2.0f / 11, 2.0f / 9, 2.0f / 7, 2.0f / 5, 2.0f / 3};
template <int i>
inline constexpr float kLogCoefficient = kLogCoefficients[i];

// Natural logarithm of a normal positive number. Error: under 3 units in the last place.
QUIRE_HD inline float SamplingLog(float x) {
  const uint32_t bits = FloatBits(x);
  const int32_t e = static_cast<int32_t>(bits - kSqrtHalfBits) >> 23;
  const float f = FloatFromBits(bits - (static_cast<uint32_t>(e) << 23)) - 1.0f;
  const float s = f / (2.0f + f);
  const float z = s * s;
  float p = kLogCoefficient<0>;
  p = p * z + kLogCoefficient<1>;
  p = p * z + kLogCoefficient<2>;
  p = p * z + kLogCoefficient<3>;
  p = p * z + kLogCoefficient<4>;
  const float exponent = static_cast<float>(e);
  const float low = exponent * kLn2Low + (s * z) * p;
  return exponent * kLn2High + (low + (s + s));
}

// Gumbel noise of 32 random bits: u = ((bits >> 9) + 1/2) * 2^-23 lies strictly between 0 and 1 and is exact in f32.
inline constexpr float kMinGumbel = -2.8116f;
inline constexpr float kMaxGumbel = 16.6356f;

QUIRE_HD inline float GumbelNoise(uint32_t bits) {
  const float u = (static_cast<float>(bits >> 9) + 0.5f) * 0x1p-23f;
  return -SamplingLog(-SamplingLog(u));
}

// Weight of an id in the top-p sum, an integer, so that the sum has no order: floor(e^score * 2^30), score <= 0.
QUIRE_HD inline uint32_t TopPWeight(float score) { return static_cast<uint32_t>(SamplingExp(score) * 0x1p30f); }

// A logit as filters and ties see it: NaN counts as minus infinity, so a broken row still gives a token.
QUIRE_HD inline float CleanLogit(float logit) {
  return logit == logit ? logit : -std::numeric_limits<float>::infinity();
}

// Log-probability of a raw logit, never NaN: in a row whose highest logit is infinite (the normalizer is then that
// logit), 0 for those that reach it and minus infinity for the others.
QUIRE_HD inline float RawLogprob(float logit, float log_normalizer) {
  const float clean = CleanLogit(logit);
  if (!std::isinf(log_normalizer)) return clean - log_normalizer;
  return clean == log_normalizer ? 0.0f : -std::numeric_limits<float>::infinity();
}

// 1 / temperature, finite. Requires: temperature > 0.
QUIRE_HD inline float InverseTemperature(float temperature) {
  const float inverse = 1.0f / temperature;
  return inverse <= std::numeric_limits<float>::max() ? inverse : std::numeric_limits<float>::max();
}

// Score of a logit, <= 0: temperature applied after the row's highest logit is taken away, so that it cannot overflow.
QUIRE_HD inline float SampleScore(float logit, float max_logit, float inverse_temperature) {
  return (logit - max_logit) * inverse_temperature;
}

}  // namespace quire::kernels

#endif  // QUIRE_KERNELS_SAMPLING_MATH_H_
