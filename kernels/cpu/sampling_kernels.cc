#include "kernels/cpu/sampling_kernels.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sampling_kernels.cc"
#include "hwy/foreach_target.h"
// clang-format off: foreach_target.h must come before highway.h
#include "kernels/cpu/vector-inl.h"
// clang-format on

#include <algorithm>
#include <limits>

#include "kernels/philox.h"
#include "kernels/sampling_math.h"

HWY_BEFORE_NAMESPACE();
namespace quire::kernels::cpu::HWY_NAMESPACE {
namespace {  // other files of kernels have functions of these names

using IntTag = hn::RebindToSigned<FloatTag>;
using WordTag = hn::RebindToUnsigned<FloatTag>;
using WordVec = hn::Vec<WordTag>;
inline constexpr IntTag kInt{};
inline constexpr WordTag kWord{};
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

HWY_INLINE FloatVec Clean(FloatVec v) { return hn::IfThenElse(hn::Eq(v, v), v, hn::Set(kFloat, kMinusInfinity)); }

HWY_INLINE float RangeMax(const float* logits, int64_t n) {
  FloatVec a = hn::Set(kFloat, kMinusInfinity);
  FloatVec b = a;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    a = hn::Max(a, Clean(hn::LoadU(kFloat, logits + i)));
    b = hn::Max(b, Clean(hn::LoadU(kFloat, logits + i + kLanes)));
  }
  float max = hn::GetLane(hn::MaxOfLanes(kFloat, hn::Max(a, b)));
  for (; i < n; ++i) max = std::max(max, CleanLogit(logits[i]));
  return max;
}

void ArgMax(const float* logits, int64_t n, float* max, int32_t* id) {
  *max = RangeMax(logits, n);
  const FloatVec wanted = hn::Set(kFloat, *max);
  int64_t i = 0;
  while (i + kLanes <= n && hn::AllFalse(kFloat, hn::Eq(Clean(hn::LoadU(kFloat, logits + i)), wanted))) i += kLanes;
  while (CleanLogit(logits[i]) != *max) ++i;
  *id = static_cast<int32_t>(i);
}

double SumExp(const float* logits, int64_t n, float max) {
  const FloatVec top = hn::Set(kFloat, max);
  double sum = 0.0;
  for (int64_t begin = 0; begin < n; begin += 4096) {  // short f32 sums, joined in double
    const int64_t end = std::min(n, begin + 4096);
    Lanes16 part;
    part.Fill(0.0f);
    for (int64_t i = begin; i < end; i += 16) {
      for (int p = 0; p < kParts; ++p) {
        const int64_t at = i + p * kLanes;
        if (at >= end) break;
        const bool full = at + kLanes <= end;
        FloatVec e = Exp(hn::Sub(Clean(full ? hn::LoadU(kFloat, logits + at) : LoadWideN(logits + at, end - at)), top));
        if (!full) e = hn::IfThenElseZero(hn::FirstN(kFloat, static_cast<size_t>(end - at)), e);
        part.part[p] = hn::Add(part.part[p], e);
      }
    }
    sum += part.Fold(SumOp());
  }
  return sum;
}

void BlockMaxima(const float* logits, int64_t n, float* maxima) {
  for (int64_t i = 0; i < n; i += kMaximaBlock) {
    maxima[i / kMaximaBlock] = RangeMax(logits + i, std::min(kMaximaBlock, n - i));
  }
}

int64_t Collect(const float* logits, int64_t n, float threshold, int32_t* ids) {
  const FloatVec least = hn::Set(kFloat, threshold);
  int64_t count = 0;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto keep = hn::Ge(Clean(hn::LoadU(kFloat, logits + i)), least);
    if (hn::AllFalse(kFloat, keep)) continue;
    const auto id = hn::Iota(kInt, static_cast<int32_t>(i));
    count += static_cast<int64_t>(hn::CompressStore(id, hn::RebindMask(kInt, keep), kInt, ids + count));
  }
  for (; i < n; ++i) {
    if (CleanLogit(logits[i]) >= threshold) ids[count++] = static_cast<int32_t>(i);
  }
  return count;
}

// SamplingExp, lane by lane (S1): no fused operation anywhere here.
HWY_INLINE FloatVec SamplingExpVec(FloatVec x) {
  const auto there = hn::Ge(x, hn::Set(kFloat, kExpMin));
  x = hn::Max(x, hn::Set(kFloat, kExpMin));
  const FloatVec magic = hn::Set(kFloat, kRoundMagic);
  const FloatVec n = hn::Sub(hn::Add(hn::Mul(x, hn::Set(kFloat, kLog2E)), magic), magic);
  const FloatVec f = hn::Sub(hn::Sub(x, hn::Mul(n, hn::Set(kFloat, kLn2High))), hn::Mul(n, hn::Set(kFloat, kLn2Low)));
  FloatVec p = hn::Set(kFloat, kExpCoefficients[0]);
  for (int i = 1; i < 7; ++i) p = hn::Add(hn::Mul(p, f), hn::Set(kFloat, kExpCoefficients[i]));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(kInt, n), hn::Set(kInt, 127)));
  return hn::IfThenElseZero(there, hn::Mul(p, hn::BitCast(kFloat, power)));
}

// SamplingLog, lane by lane (S1).
HWY_INLINE FloatVec SamplingLogVec(FloatVec x) {
  const WordVec bits = hn::BitCast(kWord, x);
  const auto e = hn::ShiftRight<23>(hn::BitCast(kInt, hn::Sub(bits, hn::Set(kWord, kSqrtHalfBits))));
  const WordVec mantissa = hn::Sub(bits, hn::ShiftLeft<23>(hn::BitCast(kWord, e)));
  const FloatVec f = hn::Sub(hn::BitCast(kFloat, mantissa), hn::Set(kFloat, 1.0f));
  const FloatVec s = hn::Div(f, hn::Add(hn::Set(kFloat, 2.0f), f));
  const FloatVec z = hn::Mul(s, s);
  FloatVec p = hn::Set(kFloat, kLogCoefficients[0]);
  for (int i = 1; i < 5; ++i) p = hn::Add(hn::Mul(p, z), hn::Set(kFloat, kLogCoefficients[i]));
  const FloatVec exponent = hn::ConvertTo(kFloat, e);
  const FloatVec low = hn::Add(hn::Mul(exponent, hn::Set(kFloat, kLn2Low)), hn::Mul(hn::Mul(s, z), p));
  return hn::Add(hn::Mul(exponent, hn::Set(kFloat, kLn2High)), hn::Add(low, hn::Add(s, s)));
}

#if HWY_TARGET != HWY_SCALAR  // one lane has nothing to interleave: the scalar tail of Draw does it all

HWY_INLINE FloatVec GumbelVec(WordVec bits) {
  const FloatVec whole = hn::ConvertTo(kFloat, hn::BitCast(kInt, hn::ShiftRight<9>(bits)));
  const FloatVec u = hn::Mul(hn::Add(whole, hn::Set(kFloat, 0.5f)), hn::Set(kFloat, 0x1p-23f));
  return hn::Neg(SamplingLogVec(hn::Neg(SamplingLogVec(u))));
}

// Low and high words of a * b for every lane.
HWY_INLINE void MulWide(WordVec a, WordVec b, WordVec* low, WordVec* high) {
  const hn::RepartitionToWide<WordTag> wide;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(kWord, hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
  *low = hn::OddEven(hn::BitCast(kWord, hn::ShiftLeft<32>(odd)), hn::BitCast(kWord, even));
  *high = hn::OddEven(hn::BitCast(kWord, odd), hn::BitCast(kWord, hn::ShiftRight<32>(even)));
}

// DrawNoise for kLanes id blocks, from id_block on.
HWY_INLINE void DrawNoiseVec(const SampleRow& row, uint32_t id_block, WordVec out[4]) {
  const WordVec mul0 = hn::Set(kWord, kPhiloxMul0);
  const WordVec mul1 = hn::Set(kWord, kPhiloxMul1);
  uint32_t key0 = static_cast<uint32_t>(row.seed);
  uint32_t key1 = static_cast<uint32_t>(row.seed >> 32);
  WordVec c0 = hn::Set(kWord, row.position);
  WordVec c1 = hn::Set(kWord, row.choice);
  WordVec c2 = hn::Iota(kWord, id_block);
  WordVec c3 = hn::Set(kWord, static_cast<uint32_t>(NoisePurpose::kDraw));
  for (int round = 0; round < 10; ++round) {
    WordVec low0, high0, low1, high1;
    MulWide(c0, mul0, &low0, &high0);
    MulWide(c2, mul1, &low1, &high1);
    c0 = hn::Xor(hn::Xor(high1, c1), hn::Set(kWord, key0));
    c1 = low1;
    c2 = hn::Xor(hn::Xor(high0, c3), hn::Set(kWord, key1));
    c3 = low0;
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

#endif  // HWY_TARGET != HWY_SCALAR

HWY_INLINE FloatVec ScoreVec(FloatVec logit, const DrawFilter& filter) {
  return hn::Mul(hn::Sub(Clean(logit), hn::Set(kFloat, filter.max_logit)), hn::Set(kFloat, filter.inverse_temperature));
}

void Weigh(const float* logits, int64_t n, const DrawFilter& filter, uint32_t* weights, uint32_t* buckets) {
  constexpr float kPerScore = 48.0f;  // the last bucket begins at score -21.3, where weights are 0
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const FloatVec score = ScoreVec(hn::LoadU(kFloat, logits + i), filter);
    const auto keep = hn::Ge(score, hn::Set(kFloat, filter.least_score));
    const FloatVec weight = hn::IfThenElseZero(keep, hn::Mul(SamplingExpVec(score), hn::Set(kFloat, 0x1p30f)));
    const FloatVec bucket = hn::Min(hn::Mul(score, hn::Set(kFloat, -kPerScore)), hn::Set(kFloat, kBuckets - 1));
    hn::StoreU(hn::BitCast(kWord, hn::ConvertTo(kInt, weight)), kWord, weights + i);
    hn::StoreU(hn::BitCast(kWord, hn::ConvertTo(kInt, bucket)), kWord, buckets + i);
  }
  for (; i < n; ++i) {
    const float score = SampleScore(CleanLogit(logits[i]), filter.max_logit, filter.inverse_temperature);
    weights[i] = score >= filter.least_score ? TopPWeight(score) : 0;
    buckets[i] = static_cast<uint32_t>(std::min(score * -kPerScore, static_cast<float>(kBuckets - 1)));
  }
}

// The draw so far.
struct Best {
  float value;
  int32_t id;
  HWY_INLINE void Offer(float v, int64_t i) {
    if (v > value || (v == value && i < id)) {
      value = v;
      id = static_cast<int32_t>(i);
    }
  }
};

#if HWY_TARGET != HWY_SCALAR
// Offers ids [begin, begin + 4 * kLanes).
HWY_INLINE void DrawBlock(const float* logits, int64_t begin, const DrawFilter& filter, const SampleRow& row,
                          Best* best) {
  FloatVec logit[4];
  hn::LoadInterleaved4(kFloat, logits + begin, logit[0], logit[1], logit[2], logit[3]);
  FloatVec score[4];
  FloatVec top = hn::Set(kFloat, kMinusInfinity);
  const FloatVec cut = hn::Set(kFloat, filter.cut_logit);
  for (int j = 0; j < 4; ++j) {
    score[j] = ScoreVec(logit[j], filter);
    // Ids of lane l are begin + 4 l + j; at the cut's logit only those up to cut_id pass.
    const auto id = hn::Add(hn::ShiftLeft<2>(hn::Iota(kInt, 0)), hn::Set(kInt, static_cast<int32_t>(begin + j)));
    const auto early = hn::RebindMask(kFloat, hn::Not(hn::Gt(id, hn::Set(kInt, filter.cut_id))));
    const auto pass = hn::And(hn::Or(hn::Gt(logit[j], cut), hn::And(hn::Eq(logit[j], cut), early)),
                              hn::Ge(score[j], hn::Set(kFloat, filter.least_score)));
    score[j] = hn::IfThenElse(pass, score[j], hn::Set(kFloat, kMinusInfinity));
    top = hn::Max(top, score[j]);
  }
  if (hn::GetLane(hn::MaxOfLanes(kFloat, top)) + kMaxGumbel < best->value) return;  // S2
  WordVec noise[4];
  DrawNoiseVec(row, static_cast<uint32_t>(begin / 4), noise);
  HWY_ALIGN float values[4][kLanes];
  FloatVec highest = hn::Set(kFloat, kMinusInfinity);
  for (int j = 0; j < 4; ++j) {
    const FloatVec value = hn::Add(score[j], GumbelVec(noise[j]));
    hn::Store(value, kFloat, values[j]);
    highest = hn::Max(highest, value);
  }
  if (hn::GetLane(hn::MaxOfLanes(kFloat, highest)) < best->value) return;
  for (int l = 0; l < kLanes; ++l) {
    for (int j = 0; j < 4; ++j) best->Offer(values[j][l], begin + 4 * l + j);
  }
}

#endif  // HWY_TARGET != HWY_SCALAR

int32_t Draw(const float* logits, int64_t n, const DrawFilter& filter, const SampleRow& row, int32_t argmax) {
  const auto noise_of = [&row](int64_t id) {
    return GumbelNoise(
        DrawNoise(row.seed, row.position, row.choice, static_cast<uint32_t>(id / 4)).lane[static_cast<size_t>(id % 4)]);
  };
  // The most probable id first: it sets the mark that others must pass.
  Best best = {noise_of(argmax), argmax};
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatVec cut = hn::Set(kFloat, filter.cut_logit);
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    FloatVec top = Clean(hn::LoadU(kFloat, logits + i));
    for (int j = 1; j < 4; ++j) top = hn::Max(top, Clean(hn::LoadU(kFloat, logits + i + j * kLanes)));
    if (hn::AllFalse(kFloat, hn::Ge(top, cut))) continue;
    DrawBlock(logits, i, filter, row, &best);
  }
#endif
  for (; i < n; ++i) {
    const float logit = CleanLogit(logits[i]);
    const float score = SampleScore(logit, filter.max_logit, filter.inverse_temperature);
    const bool before_cut = logit > filter.cut_logit || (logit == filter.cut_logit && i <= filter.cut_id);
    if (before_cut && score >= filter.least_score) best.Offer(score + noise_of(i), i);
  }
  return best.id;
}

SampleKernels Table() { return {ArgMax, SumExp, BlockMaxima, Collect, Weigh, Draw}; }

}  // namespace
}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::kernels::cpu {

SampleKernels SampleKernelsFor(int64_t target) {
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
