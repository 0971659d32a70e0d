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

}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
