#include "kernels/cpu/row_kernels.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_kernels.cc"
#include "hwy/foreach_target.h"
// clang-format off: foreach_target.h must come before highway.h
#include "kernels/cpu/vector-inl.h"
// clang-format on

#include <cmath>

HWY_BEFORE_NAMESPACE();
namespace quire::kernels::cpu::HWY_NAMESPACE {
namespace {  // other files of kernels have functions of these names

// Sum of (x - mean)^power over a row, power 1 or 2; 16 running sums whatever the vector width.
template <bool kSquare>
HWY_INLINE float RowSum(const float* x, int64_t width, float mean) {
  Lanes16 sum;
  sum.Fill(0.0f);
  const FloatVec center = hn::Set(kFloat, mean);
  for (int64_t c = 0; c < width; c += 16) {
    for (int i = 0; i < kParts; ++i) {
      const int64_t at = c + i * kLanes;
      if (at >= width) break;
      const bool full = at + kLanes <= width;
      FloatVec v = full ? hn::LoadU(kFloat, x + at) : LoadWideN(x + at, width - at);
      if (!kSquare) {
        sum.part[i] = hn::Add(sum.part[i], v);
        continue;
      }
      v = hn::Sub(v, center);
      if (!full) v = hn::IfThenElseZero(hn::FirstN(kFloat, static_cast<size_t>(width - at)), v);
      sum.part[i] = hn::MulAdd(v, v, sum.part[i]);
    }
  }
  return sum.Fold(SumOp());
}

void Norm(NormKind kind, const float* x, const float* weight, const float* bias, float eps, int64_t width, float* out) {
  const float count = static_cast<float>(width);
  const float mean = kind == NormKind::kLayer ? RowSum<false>(x, width, 0.0f) / count : 0.0f;
  const float scale = 1.0f / std::sqrt(RowSum<true>(x, width, mean) / count + eps);
  const FloatVec center = hn::Set(kFloat, mean);
  const FloatVec factor = hn::Set(kFloat, scale);
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    FloatVec v = hn::Mul(hn::Sub(hn::LoadU(kFloat, x + c), center), factor);
    v = hn::Mul(v, hn::LoadU(kFloat, weight + c));
    if (bias != nullptr) v = hn::Add(v, hn::LoadU(kFloat, bias + c));
    hn::StoreU(v, kFloat, out + c);
  }
  for (; c < width; ++c) {
    const float v = (x[c] - mean) * scale * weight[c];
    out[c] = bias == nullptr ? v : v + bias[c];
  }
}

float SumSquares(const float* x, int64_t width) { return RowSum<true>(x, width, 0.0f); }

void Weigh(const float* x, float scale, const float* weight, int64_t width, float* out) {
  const FloatVec factor = hn::Set(kFloat, scale);
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    const FloatVec v = hn::Mul(hn::LoadU(kFloat, x + c), factor);
    hn::StoreU(hn::Mul(v, hn::LoadU(kFloat, weight + c)), kFloat, out + c);
  }
  for (; c < width; ++c) out[c] = x[c] * scale * weight[c];
}

void Rope(float* x, const float* cosine, const float* sine, int64_t num_heads, int64_t head_dim, int64_t half) {
  for (int64_t h = 0; h < num_heads; ++h) {
    float* first = x + h * head_dim;
    float* second = first + half;
    int64_t i = 0;
    for (; i + kLanes <= half; i += kLanes) {
      const FloatVec a = hn::LoadU(kFloat, first + i);
      const FloatVec b = hn::LoadU(kFloat, second + i);
      const FloatVec c = hn::LoadU(kFloat, cosine + i);
      const FloatVec s = hn::LoadU(kFloat, sine + i);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), kFloat, first + i);
      hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), kFloat, second + i);
    }
    for (; i < half; ++i) {
      const float a = first[i];
      const float b = second[i];
      first[i] = a * cosine[i] - b * sine[i];
      second[i] = b * cosine[i] + a * sine[i];
    }
  }
}

HWY_INLINE FloatVec Sigmoid(FloatVec x) {
  const FloatVec one = hn::Set(kFloat, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(hn::Neg(x))));
}

// erfc(t) * e^(t^2) for t in [0, 10.5] as a polynomial in s, s linear in 1 / (1 + t / 2) and in [-1, 1]. Chebyshev
// interpolation of degree 10 in exact arithmetic; relative error 4e-8.
constexpr float kScaledErfc[] = {6.0597353e-06f,  -1.94216301e-05f, -3.70346277e-05f, 0.000261633202f,
                                 7.90722486e-05f, -0.00304603031f,  -0.00102030144f,  0.0471371931f,
                                 0.197461096f,    0.428920675f,     0.330257059f};

// The normal distribution function, erfc(-x / sqrt(2)) / 2.
HWY_INLINE FloatVec NormalCdf(FloatVec x) {
  const FloatVec one = hn::Set(kFloat, 1.0f);
  const FloatVec t = hn::Min(hn::Mul(hn::Abs(x), hn::Set(kFloat, 0.707106781f)), hn::Set(kFloat, 10.5f));
  const FloatVec q = hn::Div(one, hn::MulAdd(t, hn::Set(kFloat, 0.5f), one));
  const FloatVec s = hn::MulSub(q, hn::Set(kFloat, 2.38095238f), hn::Set(kFloat, 1.38095238f));
  FloatVec p = hn::Set(kFloat, kScaledErfc[0]);
  for (int i = 1; i < 11; ++i) p = hn::MulAdd(p, s, hn::Set(kFloat, kScaledErfc[i]));
  const FloatVec half_erfc = hn::Mul(hn::Mul(p, hn::Set(kFloat, 0.5f)), Exp(hn::Neg(hn::Mul(t, t))));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(kFloat)), half_erfc, hn::Sub(one, half_erfc));
}

// 0.5 (1 + tanh u) = sigmoid(2 u): one exponential, and no cancellation for negative x.
HWY_INLINE FloatVec GeluTanh(FloatVec x) {
  const FloatVec cube = hn::Mul(hn::Mul(x, x), hn::Mul(x, hn::Set(kFloat, 0.044715f)));
  return hn::Mul(x, Sigmoid(hn::Mul(hn::Add(x, cube), hn::Set(kFloat, 2 * 0.797884561f))));
}

template <ActivationKind kKind>
HWY_INLINE FloatVec Apply(FloatVec x) {
  if constexpr (kKind == ActivationKind::kRelu) return hn::Max(x, hn::Zero(kFloat));
  if constexpr (kKind == ActivationKind::kGeluErf) return hn::Mul(x, NormalCdf(x));
  if constexpr (kKind == ActivationKind::kGeluTanh) return GeluTanh(x);
  if constexpr (kKind == ActivationKind::kSilu) return hn::Mul(x, Sigmoid(x));
}

template <ActivationKind kKind>
void ActivateRow(const float* x, const float* up, int64_t width, float* out) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    FloatVec v = Apply<kKind>(hn::LoadU(kFloat, x + c));
    if (up != nullptr) v = hn::Mul(v, hn::LoadU(kFloat, up + c));
    hn::StoreU(v, kFloat, out + c);
  }
  if (c == width) return;
  FloatVec v = Apply<kKind>(LoadWideN(x + c, width - c));
  if (up != nullptr) v = hn::Mul(v, LoadWideN(up + c, width - c));
  StoreN(v, out + c, width - c);
}

void Activate(ActivationKind kind, const float* x, const float* up, int64_t width, float* out) {
  switch (kind) {
    case ActivationKind::kRelu:
      return ActivateRow<ActivationKind::kRelu>(x, up, width, out);
    case ActivationKind::kGeluErf:
      return ActivateRow<ActivationKind::kGeluErf>(x, up, width, out);
    case ActivationKind::kGeluTanh:
      return ActivateRow<ActivationKind::kGeluTanh>(x, up, width, out);
    case ActivationKind::kSilu:
      return ActivateRow<ActivationKind::kSilu>(x, up, width, out);
  }
}

void Add(float* x, const float* y, int64_t width) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(kFloat, x + c), hn::LoadU(kFloat, y + c)), kFloat, x + c);
  }
  for (; c < width; ++c) x[c] += y[c];
}

void SoftCap(float* x, float cap, int64_t width) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) hn::StoreU(Capped(hn::LoadU(kFloat, x + c), cap), kFloat, x + c);
  if (c < width) StoreN(Capped(LoadWideN(x + c, width - c), cap), x + c, width - c);
}

HWY_INLINE FloatVec CombineAt(const CombineJob& job, int64_t c, int64_t lanes) {
  const auto load = [&](const float* row) {
    return lanes >= kLanes ? hn::LoadU(kFloat, row + c) : LoadWideN(row + c, lanes);
  };
  FloatVec sums[4];
  for (int q = 0; q < 4; ++q) {
    sums[q] = hn::Zero(kFloat);
    for (int64_t i = job.quarter_begin[q]; i < job.quarter_begin[q + 1]; ++i) {
      sums[q] = hn::MulAdd(hn::Set(kFloat, job.weights[i]), load(job.rows[i]), sums[q]);
    }
    if (job.extra != nullptr && job.extra_quarter == q) sums[q] = hn::Add(sums[q], load(job.extra));
  }
  return hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]));
}

void Combine(const CombineJob& job, int64_t width, float* out) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) hn::StoreU(CombineAt(job, c, kLanes), kFloat, out + c);
  if (c < width) StoreN(CombineAt(job, c, width - c), out + c, width - c);
}

template <typename T>
HWY_INLINE void WidenRow(const T* row, int64_t width, float* out) {
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes) hn::StoreU(LoadWide(row + c), kFloat, out + c);
  for (; c < width; ++c) out[c] = Widen(row[c]);
}

void WidenAny(const void* row, DType dtype, int64_t width, float* out) {
  switch (dtype) {
    case DType::kF16:
      return WidenRow(static_cast<const Float16*>(row), width, out);
    case DType::kBF16:
      return WidenRow(static_cast<const BFloat16*>(row), width, out);
    default:
      return WidenRow(static_cast<const float*>(row), width, out);
  }
}

RowKernels Table() { return {Norm, SumSquares, Weigh, Rope, Activate, Add, SoftCap, Combine, WidenAny}; }

}  // namespace
}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::kernels::cpu {

RowKernels RowKernelsFor(int64_t target) {
#if HWY_TARGETS & HWY_AVX3
  if (target == HWY_AVX3) return N_AVX3::Table();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (target == HWY_AVX2) return N_AVX2::Table();
#endif
  return HWY_STATIC_DISPATCH(Table)();
}

}  // namespace quire::kernels::cpu
#endif  // HWY_ONCE
