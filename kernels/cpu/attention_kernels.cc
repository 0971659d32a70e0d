#include "kernels/cpu/attention_kernels.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_kernels.cc"
#include "hwy/foreach_target.h"
// clang-format off: foreach_target.h must come before highway.h
#include "hwy/cache_control.h"
#include "kernels/cpu/vector-inl.h"
// clang-format on

#include <algorithm>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace quire::kernels::cpu::HWY_NAMESPACE {
namespace {  // other files of kernels have functions of these names

// Key groups (of 16) or value columns (of 16) that a register tile spans.
constexpr int kWide = kParts == 1 ? 4 : kParts == 2 ? 2 : 1;
constexpr int kRowsMax = 6;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// A register tile's worth of a task's rows against one chunk of keys.
struct Span {
  const AttendJob* job;
  const AttendTask* task;
  int64_t first_key;           // of the chunk
  int64_t begin;               // keys [begin, num_keys) of the chunk are what any row of the tile sees; begin is
  int64_t num_keys;            // rounded down to a group of 16
  const float* q[kRowsMax];    // row pointers; unused rows repeat the last
  int64_t position[kRowsMax];  // of the row's query in its sequence
  int64_t head[kRowsMax];      // of the row, among all query heads
  int64_t hidden[kRowsMax];    // keys [hidden, visible) of the chunk are what the row sees
  int64_t visible[kRowsMax];
  bool prefetch;  // the chunk is still in memory
  float* scores;  // [kRowsMax][kChunk]
};

template <typename T>
HWY_INLINE const T* Keys(const Span& s, int64_t key) {
  const KvCacheLayout& l = s.job->cache.layout;
  const int64_t at = s.first_key + key;
  return static_cast<const T*>(s.job->cache.base) +
         KeyOffset(l, s.job->layer, s.task->blocks[at / l.block_size], s.task->kv_head, at % l.block_size / 16);
}

template <typename T>
HWY_INLINE const T* Values(const Span& s, int64_t key) {
  const KvCacheLayout& l = s.job->cache.layout;
  const int64_t at = s.first_key + key;
  return static_cast<const T*>(s.job->cache.base) +
         ValueOffset(l, s.job->layer, s.task->blocks[at / l.block_size], s.task->kv_head, at % l.block_size);
}

// Scores of keys [key, key + 16 kGroups): each one chain of multiply-adds over head_dim, then times scale.
template <typename T, int kRows, int kGroups>
HWY_NOINLINE void ScoreGroups(const Span& s, int64_t key) {
  constexpr int kVectors = kGroups * kParts;
  constexpr int64_t kLineSteps = HWY_MAX(1, 64 / (16 * static_cast<int64_t>(sizeof(T))));
  const T* k[kGroups];
  const T* next[kGroups];
  const T* values[kGroups];
  for (int g = 0; g < kGroups; ++g) {
    k[g] = Keys<T>(s, key + g * 16);
    values[g] = Values<T>(s, key + g * 16);
    const int64_t ahead = key + (2 * kGroups + g) * 16;
    next[g] = ahead < s.num_keys ? Keys<T>(s, ahead) : k[g];
  }
  FloatVec acc[kRows][kVectors];
#pragma GCC unroll 32
  for (int i = 0; i < kRows * kVectors; ++i) (&acc[0][0])[i] = hn::Zero(kFloat);
  const int64_t dim = s.job->head_dim();
  for (int64_t d = 0; d < dim; ++d) {
    if (s.prefetch && d % kLineSteps == 0) {
#pragma GCC unroll 8
      for (int g = 0; g < kGroups; ++g) {
        hwy::Prefetch(next[g] + d * 16);
        hwy::Prefetch(values[g] + d * 16);  // 16 values lie together like 16 keys; their turn comes after the scores
      }
    }
    FloatVec w[kVectors];
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) w[i] = LoadWide(k[i / kParts] + d * 16 + i % kParts * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVec q = hn::Set(kFloat, s.q[r][d]);
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) acc[r][i] = hn::MulAdd(q, w[i], acc[r][i]);
    }
  }
  const FloatVec scale = hn::Set(kFloat, s.job->params.scale);
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      hn::Store(hn::Mul(acc[r][i], scale), kFloat, s.scores + r * kChunk + key + i * kLanes);
    }
  }
}

HWY_INLINE FloatVec Bf16Product(FloatVec a, FloatVec b) { return RoundToBf16(hn::Mul(a, RoundToBf16(b))); }

// Soft cap and ALiBi of row r's scores; few models have either.
HWY_NOINLINE void AdjustScores(const Span& s, int r) {
  const AttentionParams& params = s.job->params;
  float* scores = s.scores + r * kChunk;
  const int64_t end = (s.num_keys + 15) / 16 * 16;
  if (params.softcap > 0.0f) {
    for (int64_t j = s.begin; j < end; j += kLanes) {
      hn::Store(Capped(hn::Load(kFloat, scores + j), params.softcap), kFloat, scores + j);
    }
  }
  if (params.alibi_slopes.empty()) return;
  FloatVec factor = hn::Set(kFloat, params.alibi_slopes[s.head[r]]);
  if (!params.alibi_in_bf16) {
    for (int64_t j = s.begin; j < end; j += kLanes) {
      const FloatVec distance = hn::Iota(kFloat, static_cast<float>(s.first_key + j - s.position[r]));
      hn::Store(hn::MulAdd(factor, distance, hn::Load(kFloat, scores + j)), kFloat, scores + j);
    }
    return;
  }
  const FloatVec slope = RoundToBf16(factor);
  factor = hn::Set(kFloat, params.scale);
  const FloatVec own = Bf16Product(slope, hn::Set(kFloat, static_cast<float>(s.position[r])));
  for (int64_t j = s.begin; j < end; j += kLanes) {
    const FloatVec at = hn::Iota(kFloat, static_cast<float>(s.first_key + j));
    const FloatVec distance = hn::Sub(Bf16Product(slope, at), own);
    hn::Store(hn::MulAdd(factor, distance, hn::Load(kFloat, scores + j)), kFloat, scores + j);
  }
}

// Turns a row's scores of keys [begin, num_keys) into weights e^(score - maximum), 0 for keys that it does not see: it
// sees [hidden, visible). Returns maximum and sum.
HWY_INLINE void Softmax(float* scores, int64_t begin, int64_t hidden, int64_t visible, int64_t num_keys, float* maximum,
                        float* sum) {
  const int64_t padded = (num_keys + 15) / 16 * 16;
  for (int64_t j = begin; j < hidden && j < padded; ++j) scores[j] = kMinusInfinity;
  for (int64_t j = visible; j < padded; ++j) scores[j] = kMinusInfinity;  // also what stale slots gave
  Lanes16 max;
  max.Fill(kMinusInfinity);
  for (int64_t j = begin; j < padded; j += 16) {
    for (int i = 0; i < kParts; ++i) max.part[i] = hn::Max(max.part[i], hn::Load(kFloat, scores + j + i * kLanes));
  }
  *maximum = max.Fold(MaxOp());
  if (visible <= hidden) {
    std::fill(scores + begin, scores + std::max(begin, padded), 0.0f);
    *sum = 0.0f;
    return;
  }
  const FloatVec top = hn::Set(kFloat, *maximum);
  Lanes16 total;
  total.Fill(0.0f);
  for (int64_t j = begin; j < padded; j += 16) {
    for (int i = 0; i < kParts; ++i) {
      const FloatVec p = Exp(hn::Sub(hn::Load(kFloat, scores + j + i * kLanes), top));
      hn::Store(p, kFloat, scores + j + i * kLanes);
      total.part[i] = hn::Add(total.part[i], p);
    }
  }
  *sum = total.Fold(SumOp());
}

// out[r][column ...] = sum over keys, ascending, of weight * value. kTail: fewer than 16 columns are there.
template <typename T, int kRows, int kColumns, bool kTail>
HWY_NOINLINE void WeighValues(const Span& s, int64_t column, float* out) {
  constexpr int kVectors = kColumns * kParts;
  const int64_t dim = s.job->head_dim();
  const int64_t block_size = s.job->cache.layout.block_size;
  FloatVec acc[kRows][kVectors];
#pragma GCC unroll 32
  for (int i = 0; i < kRows * kVectors; ++i) (&acc[0][0])[i] = hn::Zero(kFloat);
  int64_t j = (s.first_key + s.begin) % block_size;  // the first block may begin before the keys
  for (int64_t key = s.begin - j; key < s.num_keys; key += block_size) {
    const T* v = Values<T>(s, key) + column;
    const int64_t count = std::min(block_size, s.num_keys - key);
    for (; j < count; ++j) {
      FloatVec w[kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        w[i] =
            kTail ? LoadWideN(v + j * dim + i * kLanes, dim - column - i * kLanes) : LoadWide(v + j * dim + i * kLanes);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const FloatVec p = hn::Set(kFloat, s.scores[r * kChunk + key + j]);
#pragma GCC unroll 8
        for (int i = 0; i < kVectors; ++i) acc[r][i] = hn::MulAdd(p, w[i], acc[r][i]);
      }
    }
    j = 0;
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      float* to = out + r * dim + column + i * kLanes;
      if (kTail) {
        StoreN(acc[r][i], to, dim - column - i * kLanes);
      } else {
        hn::StoreU(acc[r][i], kFloat, to);
      }
    }
  }
}

template <typename T, int kRows>
void TileRows(const Span& s, float* values, float* maxima, float* sums) {
  int64_t key = s.begin;
  for (; key + 16 * kWide <= s.num_keys; key += 16 * kWide) ScoreGroups<T, kRows, kWide>(s, key);
  for (; key < s.num_keys; key += 16) ScoreGroups<T, kRows, 1>(s, key);
  const AttentionParams& params = s.job->params;
  const bool adjusted = params.softcap > 0.0f || !params.alibi_slopes.empty();
  for (int r = 0; r < kRows; ++r) {
    if (adjusted) AdjustScores(s, r);
    Softmax(s.scores + r * kChunk, s.begin, s.hidden[r], s.visible[r], s.num_keys, maxima + r, sums + r);
  }
  const int64_t dim = s.job->head_dim();
  int64_t column = 0;
  for (; column + 16 * kWide <= dim; column += 16 * kWide) WeighValues<T, kRows, kWide, false>(s, column, values);
  for (; column + 16 <= dim; column += 16) WeighValues<T, kRows, 1, false>(s, column, values);
  if (column == dim) return;
  if (dim >= 16) return WeighValues<T, kRows, 1, false>(s, dim - 16, values);  // some columns again, the same bits
  WeighValues<T, kRows, 1, true>(s, 0, values);
}

template <typename T>
void ChunkOf(const AttendJob& job, const AttendTask& task, int64_t chunk, float* partial, float* scratch) {
  const int64_t rows = job.Rows(task);
  float* maxima = partial + rows * job.head_dim();
  float* sums = maxima + rows;
  const int64_t tiles = (rows + kRowsMax - 1) / kRowsMax;
  for (int64_t t = 0; t < tiles; ++t) {
    const int64_t begin = rows * t / tiles;
    const int64_t count = rows * (t + 1) / tiles - begin;
    Span s = {};
    s.job = &job;
    s.task = &task;
    s.first_key = chunk * kChunk;
    s.begin = kChunk;
    s.prefetch = t == 0;
    s.scores = scratch;
    for (int64_t r = 0; r < count; ++r) {
      const int64_t query = (begin + r) / job.group, head = (begin + r) % job.group;
      s.q[r] = task.q + query * job.q_stride + head * job.head_dim();
      s.head[r] = task.kv_head * job.group + head;
      s.position[r] = task.visible - 1 + query;
      s.hidden[r] = std::clamp<int64_t>(FirstVisibleKey(job.params, s.position[r]) - s.first_key, 0, kChunk);
      s.visible[r] = std::clamp<int64_t>(s.position[r] + 1 - s.first_key, 0, kChunk);
      s.begin = std::min(s.begin, s.hidden[r] / 16 * 16);
      s.num_keys = std::max(s.num_keys, s.visible[r]);
    }
    float* values = partial + begin * job.head_dim();
    switch (count) {
      case 1:
        TileRows<T, 1>(s, values, maxima + begin, sums + begin);
        break;
      case 2:
        TileRows<T, 2>(s, values, maxima + begin, sums + begin);
        break;
      case 3:
        TileRows<T, 3>(s, values, maxima + begin, sums + begin);
        break;
      case 4:
        TileRows<T, 4>(s, values, maxima + begin, sums + begin);
        break;
      case 5:
        TileRows<T, 5>(s, values, maxima + begin, sums + begin);
        break;
      default:
        TileRows<T, 6>(s, values, maxima + begin, sums + begin);
    }
  }
}

void Chunk(const AttendJob& job, const AttendTask& task, int64_t chunk, float* partial, float* scratch) {
  switch (job.cache.layout.dtype) {
    case DType::kF16:
      return ChunkOf<Float16>(job, task, chunk, partial, scratch);
    case DType::kBF16:
      return ChunkOf<BFloat16>(job, task, chunk, partial, scratch);
    default:
      return ChunkOf<float>(job, task, chunk, partial, scratch);
  }
}

HWY_INLINE float ExpOne(float x) { return hn::GetLane(Exp(hn::Set(kFloat, x))); }

void Merge(const AttendJob& job, const AttendTask& task, const float* partial, float* state) {
  const int64_t dim = job.head_dim();
  const int64_t rows = job.Rows(task);
  const float* new_maxima = partial + rows * dim;
  float* maxima = state + rows * dim;
  for (int64_t r = 0; r < rows; ++r) {
    if (new_maxima[r] == kMinusInfinity && new_maxima[rows + r] == 0.0f) continue;  // the row sees nothing of the chunk
    if (maxima[r] == kMinusInfinity && maxima[rows + r] == 0.0f) {                  // nor of those before it
      maxima[r] = new_maxima[r];
      maxima[rows + r] = new_maxima[rows + r];
      std::copy_n(partial + r * dim, dim, state + r * dim);
      continue;
    }
    const float top = std::max(maxima[r], new_maxima[r]);
    const float old_factor = ExpOne(maxima[r] - top);
    const float new_factor = ExpOne(new_maxima[r] - top);
    maxima[r] = top;
    maxima[rows + r] = maxima[rows + r] * old_factor + new_maxima[rows + r] * new_factor;
    float* to = state + r * dim;
    const float* from = partial + r * dim;
    for (int64_t d = 0; d < dim; ++d) to[d] = to[d] * old_factor + from[d] * new_factor;
  }
}

void Finish(const AttendJob& job, const AttendTask& task, const float* state) {
  const int64_t dim = job.head_dim();
  const int64_t rows = job.Rows(task);
  const float* sums = state + rows * (dim + 1);
  for (int64_t r = 0; r < rows; ++r) {
    float* out = task.out + r / job.group * job.out_stride + r % job.group * dim;
    for (int64_t d = 0; d < dim; ++d) out[d] = state[r * dim + d] / sums[r];
  }
}

AttendKernels Table() { return {Chunk, Merge, Finish}; }

}  // namespace
}  // namespace quire::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::kernels::cpu {

AttendKernels AttendKernelsFor(int64_t target) {
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
