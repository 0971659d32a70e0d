// What the kernel files share on every target: 16 floats as one value, widening loads, narrowing stores. Included once
// per target, between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE of the including file.
//
// Invariants:
//   V1  Lanes16 has the same operations in the same order on every target: a reduction folds 16 lanes by halves (8, 4,
//   2, 1), so AVX2
//       and AVX-512 give the same bits.
#if defined(QUIRE_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUIRE_KERNELS_CPU_VECTOR_INL_H_
#undef QUIRE_KERNELS_CPU_VECTOR_INL_H_
#else
#define QUIRE_KERNELS_CPU_VECTOR_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/half.h"

HWY_BEFORE_NAMESPACE();
namespace quire::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using FloatVec = hn::Vec<FloatTag>;
inline constexpr FloatTag kFloat{};
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(FloatTag()));
// Vectors that make 16 floats.
inline constexpr int kParts = 16 / kLanes;

HWY_INLINE FloatVec LoadWide(const float* p) { return hn::LoadU(kFloat, p); }
HWY_INLINE FloatVec LoadWide(const BFloat16* p) {
  const hn::Rebind<uint16_t, FloatTag> d16;
  const hn::Rebind<uint32_t, FloatTag> d32;
  const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(kFloat, hn::ShiftLeft<16>(bits));
}
HWY_INLINE FloatVec LoadWide(const Float16* p) {
  const hn::Rebind<hwy::float16_t, FloatTag> d16;
  return hn::PromoteTo(kFloat, hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(p)));
}

// Floats [0, n) of p, zeros above; for the ends of rows.
template <typename T>
HWY_INLINE FloatVec LoadWideN(const T* p, int64_t n) {
  HWY_ALIGN float buffer[kLanes] = {};
  for (int64_t i = 0; i < kLanes && i < n; ++i) buffer[i] = Widen(p[i]);
  return hn::Load(kFloat, buffer);
}

HWY_INLINE void StoreN(FloatVec v, float* p, int64_t n) {
  HWY_ALIGN float buffer[kLanes];
  hn::Store(v, kFloat, buffer);
  for (int64_t i = 0; i < kLanes && i < n; ++i) p[i] = buffer[i];
}

// Sixteen running values, and their sum in the one order of V1.
struct Lanes16 {
  FloatVec part[kParts];

  HWY_INLINE void Fill(float value) {
    for (int i = 0; i < kParts; ++i) part[i] = hn::Set(kFloat, value);
  }
  template <typename Op>
  HWY_INLINE float Fold(Op op) const {
    HWY_ALIGN float lanes[16];
    for (int i = 0; i < kParts; ++i) hn::Store(part[i], kFloat, lanes + i * kLanes);
    for (int half = 8; half >= 1; half /= 2) {
      for (int i = 0; i < half; ++i) lanes[i] = op(lanes[i], lanes[i + half]);
    }
    return lanes[0];
  }
};

struct SumOp {
  float operator()(float a, float b) const { return a + b; }
};
struct MaxOp {
  float operator()(float a, float b) const { return a > b ? a : b; }
};

// e^x: x = n ln 2 + f, a polynomial of degree 7 in f, 2^n by exponent bits. Error: 2 units in the last place; 0 under
// -87.3, finite above 88.
HWY_INLINE FloatVec Exp(FloatVec x) {
  const auto tiny = hn::Lt(x, hn::Set(kFloat, -87.3f));
  x = hn::Min(hn::Max(x, hn::Set(kFloat, -87.3f)), hn::Set(kFloat, 88.0f));
  const FloatVec n = hn::Round(hn::Mul(x, hn::Set(kFloat, 1.44269504f)));
  FloatVec f = hn::NegMulAdd(n, hn::Set(kFloat, 0.693359375f), x);
  f = hn::NegMulAdd(n, hn::Set(kFloat, -2.12194440e-4f), f);
  FloatVec p = hn::Set(kFloat, 1.0f / 5040);
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f / 720));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f / 120));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f / 24));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f / 6));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 0.5f));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f));
  p = hn::MulAdd(p, f, hn::Set(kFloat, 1.0f));
  const hn::RebindToSigned<FloatTag> di;
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenZeroElse(tiny, hn::Mul(p, hn::BitCast(kFloat, power)));
}

// tanh x: an odd polynomial up to 0.65 (least squares over Chebyshev nodes), else by e^(2x). Error: 2 units in the last
// place.
HWY_INLINE FloatVec Tanh(FloatVec x) {
  const FloatVec one = hn::Set(kFloat, 1.0f), two = hn::Set(kFloat, 2.0f);
  const FloatVec size = hn::Abs(x), square = hn::Mul(x, x);
  FloatVec p = hn::Set(kFloat, -0.00593298022f);
  p = hn::MulAdd(p, square, hn::Set(kFloat, 0.0208813194f));
  p = hn::MulAdd(p, square, hn::Set(kFloat, -0.0538258478f));
  p = hn::MulAdd(p, square, hn::Set(kFloat, 0.133326009f));
  p = hn::MulAdd(p, square, hn::Set(kFloat, -0.333333284f));
  const FloatVec near_zero = hn::MulAdd(hn::Mul(p, square), x, x);
  const FloatVec far = hn::Sub(one, hn::Div(two, hn::Add(Exp(hn::Mul(size, two)), one)));
  return hn::IfThenElse(hn::Lt(size, hn::Set(kFloat, 0.65f)), near_zero, hn::CopySign(far, x));
}

// cap * tanh(x / cap).
HWY_INLINE FloatVec Capped(FloatVec x, float cap) {
  return hn::Mul(hn::Set(kFloat, cap), Tanh(hn::Div(x, hn::Set(kFloat, cap))));
}

// The nearest number that bfloat16 has, ties to even. Requires: finite.
HWY_INLINE FloatVec RoundToBf16(FloatVec x) {
  const hn::RebindToUnsigned<FloatTag> du;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
  return hn::BitCast(kFloat, hn::And(rounded, hn::Set(du, 0xffff0000u)));
}

}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
