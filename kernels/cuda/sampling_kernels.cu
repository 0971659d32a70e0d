// Filters by radix selection: a cut is a logit, found digit by digit from the highest, and an id among those that have
// it. One block has one row.
#include "kernels/cuda/sampling_kernels.h"
#include "kernels/cuda/warp.cuh"
#include "kernels/philox.h"
#include "kernels/sampling_math.h"

namespace quire::kernels::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kDigits = 256;
constexpr int32_t kAllIds = 0x7fffffff;

using Mass = unsigned long long;  // of atomicAdd

// A float as an integer of the same order; both zeros are one.
__device__ __forceinline__ uint32_t KeyOf(float value) {
  const uint32_t bits = FloatBits(value + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float FromKey(uint32_t key) {
  return FloatFromBits((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key);
}

// Highest value, of equal ones the lowest id, as one number: a maximum has no order.
__device__ __forceinline__ Mass Ranked(float value, int64_t id) {
  return (static_cast<Mass>(KeyOf(value)) << 32) | (0xffffffffu - static_cast<uint32_t>(id));
}
__device__ __forceinline__ float ValueOf(Mass ranked) { return FromKey(static_cast<uint32_t>(ranked >> 32)); }
__device__ __forceinline__ int32_t IdOf(Mass ranked) {
  return static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(ranked));
}

__device__ Mass BlockHighest(Mass value) {
  __shared__ Mass parts[kWarp];
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const Mass other = __shfl_xor_sync(kAllLanes, value, mask);
    value = other > value ? other : value;
  }
  __syncthreads();
  if (Lane() == 0) parts[WarpIndex()] = value;
  __syncthreads();
  Mass highest = parts[0];
  for (int w = 1; w < NumWarps(); ++w) highest = parts[w] > highest ? parts[w] : highest;
  return highest;
}

// Ids that may be drawn: those up to the cut in the order (logit descending, id ascending), with score >= least.
struct Filter {
  float max = 0.0f;
  float inverse_temperature = 1.0f;
  float least_score = 0.0f;
  uint32_t cut_key = 0;
  int32_t cut_id = kAllIds;

  __device__ __forceinline__ bool BeforeCut(uint32_t key, int64_t id) const {
    return key > cut_key || (key == cut_key && id <= cut_id);
  }
  __device__ __forceinline__ float ScoreOf(float clean) const { return SampleScore(clean, max, inverse_temperature); }
};

// What a selection adds up: ones, until there are `count`.
struct ByCount {
  Mass count;
  __device__ __forceinline__ Mass MassOf(float /*clean*/, int64_t /*id*/) const { return 1; }
  __device__ __forceinline__ bool Reached(Mass sum) const { return sum >= count; }
};

// Weights of what passes the filter, until they reach the limit.
struct ByWeight {
  Filter filter;
  double limit;
  __device__ __forceinline__ Mass MassOf(float clean, int64_t id) const {
    const float score = filter.ScoreOf(clean);
    if (!filter.BeforeCut(KeyOf(clean), id) || !(score >= filter.least_score)) return 0;
    return TopPWeight(score);
  }
  __device__ __forceinline__ bool Reached(Mass sum) const { return !(static_cast<double>(sum) < limit); }
};

struct Selection {
  Mass histogram[kDigits];
  uint32_t prefix;
  Mass before;  // mass above the prefix
  Mass equals;  // mass that has the whole key
  int32_t id;
};

// The id of the `wanted`-th element, by ascending id, whose key is `key` and whose mass is not 0.
template <typename By>
__device__ int32_t IdOfEqual(const float* logits, int64_t n, const By& by, uint32_t key, Mass wanted,
                             Selection* shared) {
  Mass seen = 0;
  for (int64_t begin = 0; begin < n; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    bool equal = false;
    if (i < n) {
      const float clean = CleanLogit(logits[i]);
      equal = KeyOf(clean) == key && by.MassOf(clean, i) > 0;
    }
    const Mass here = BlockSum<Mass>(equal ? 1 : 0);
    if (seen + here < wanted) {
      seen += here;
      continue;
    }
    // It is in this tile: every thread counts the equal ones before it.
    Mass before = equal ? 1 : 0;
    for (int step = 1; step < kWarp; step *= 2) {
      const Mass other = __shfl_up_sync(kAllLanes, before, static_cast<unsigned>(step));
      if (Lane() >= step) before += other;
    }
    if (Lane() == kWarp - 1) shared->histogram[WarpIndex()] = before;
    __syncthreads();
    for (int w = 0; w < WarpIndex(); ++w) before += shared->histogram[w];
    if (equal && seen + before == wanted) shared->id = static_cast<int32_t>(i);
    __syncthreads();
    return shared->id;
  }
  return kAllIds;
}

// Finds the shortest prefix, in the order (logit descending, id ascending), whose mass reaches; its last element is the
// cut. Requires: all of it reaches.
template <typename By>
__device__ void Select(const float* logits, int64_t n, const By& by, Selection* shared, uint32_t* cut_key,
                       int32_t* cut_id) {
  if (threadIdx.x == 0) {
    shared->prefix = 0;
    shared->before = 0;
  }
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int d = static_cast<int>(threadIdx.x); d < kDigits; d += kThreads) shared->histogram[d] = 0;
    __syncthreads();
    const uint32_t prefix = shared->prefix;
    const uint32_t above = shift == 24 ? 0u : 0xffffffffu << (shift + 8);
    for (int64_t i = threadIdx.x; i < n; i += kThreads) {
      const float clean = CleanLogit(logits[i]);
      const uint32_t key = KeyOf(clean);
      if ((key & above) != prefix) continue;
      const Mass mass = by.MassOf(clean, i);
      if (mass > 0) atomicAdd(&shared->histogram[(key >> shift) & 0xffu], mass);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Mass before = shared->before;
      int digit = kDigits - 1;
      while (digit > 0 && !by.Reached(before + shared->histogram[digit])) before += shared->histogram[digit--];
      shared->before = before;
      shared->equals = shared->histogram[digit];
      shared->prefix = prefix | (static_cast<uint32_t>(digit) << shift);
    }
    __syncthreads();
  }
  const uint32_t key = shared->prefix;
  const Mass before = shared->before, equals = shared->equals;
  // How many of the equal ones it takes; each has the mass of any.
  const Mass each = by.MassOf(FromKey(key), 0);
  Mass low = 1, high = each > 0 ? equals / each : 1;
  while (low < high) {
    const Mass middle = (low + high) / 2;
    if (by.Reached(before + middle * each)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  const bool all = each == 0 || low * each == equals;
  // An earlier cut at the same logit stays.
  const int32_t last = key == *cut_key ? *cut_id : kAllIds;
  *cut_key = key;
  *cut_id = all ? last : IdOfEqual(logits, n, by, key, low, shared);
  __syncthreads();
}

__device__ Mass HighestLogit(const float* logits, int64_t n) {
  Mass highest = 0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const Mass ranked = Ranked(CleanLogit(logits[i]), i);
    highest = ranked > highest ? ranked : highest;
  }
  return BlockHighest(highest);
}

__device__ int32_t Draw(const float* logits, int64_t n, const DrawArgs& args, const Filter& filter) {
  Mass best = 0;
  for (int64_t block = threadIdx.x; 4 * block < n; block += kThreads) {
    float scores[4];
    bool any = false;
    for (int j = 0; j < 4; ++j) {
      const int64_t id = 4 * block + j;
      scores[j] = -INFINITY;
      if (id >= n) continue;
      const float clean = CleanLogit(logits[id]);
      const float score = filter.ScoreOf(clean);
      if (!filter.BeforeCut(KeyOf(clean), id) || !(score >= filter.least_score)) continue;
      scores[j] = score;
      // What cannot pass this thread's best even with the highest noise is left out (S2 of sampling_math.h).
      any = any || best == 0 || !(score + kMaxGumbel < ValueOf(best));
    }
    if (!any) continue;
    const PhiloxBlock noise = DrawNoise(args.seed, args.position, args.choice, static_cast<uint32_t>(block));
    for (int j = 0; j < 4; ++j) {
      if (scores[j] == -INFINITY) continue;
      const Mass ranked = Ranked(scores[j] + GumbelNoise(noise.lane[j]), 4 * block + j);
      best = ranked > best ? ranked : best;
    }
  }
  return IdOf(BlockHighest(best));
}

__device__ int32_t ChooseToken(const float* logits, int64_t n, const DrawArgs& args, Selection* shared) {
  if (args.given >= 0) return args.given;
  const Mass highest = HighestLogit(logits, n);
  Filter filter;
  filter.max = ValueOf(highest);
  if (args.inverse_temperature == 0.0f || fabsf(filter.max) == INFINITY) return IdOf(highest);
  filter.inverse_temperature = args.inverse_temperature;
  filter.least_score = args.least_score;
  if (args.top_k > 0 && args.top_k < n) {
    Select(logits, n, ByCount{static_cast<Mass>(args.top_k)}, shared, &filter.cut_key, &filter.cut_id);
  }
  if (args.top_p < 1.0f) {
    ByWeight by = {filter, 0.0};
    Mass total = 0;
    for (int64_t i = threadIdx.x; i < n; i += kThreads) total += by.MassOf(CleanLogit(logits[i]), i);
    by.limit = static_cast<double>(args.top_p) * static_cast<double>(BlockSum<Mass>(total));
    Select(logits, n, by, shared, &filter.cut_key, &filter.cut_id);
  }
  return Draw(logits, n, args, filter);
}

__global__ void __launch_bounds__(kThreads) SampleKernel(Rows logits, const DrawArgs* args, DrawResult* results) {
  __shared__ Selection shared;
  const float* row = logits.data + blockIdx.x * logits.stride;
  const int32_t token = ChooseToken(row, logits.width, args[blockIdx.x], &shared);
  if (threadIdx.x == 0) results[blockIdx.x] = {token, row[token]};
}

__global__ void __launch_bounds__(kThreads)
    LogProbsKernel(Rows logits, const int32_t* num_top, int64_t max_top, LogProbResult* results, IdLogit* top) {
  __shared__ Selection shared;
  __shared__ int32_t num_found;
  const int64_t n = logits.width;
  const int32_t wanted = num_top[blockIdx.x];
  if (wanted < 0) return;
  const float* row = logits.data + blockIdx.x * logits.stride;
  const Mass highest = HighestLogit(row, n);
  const float max = ValueOf(highest);
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) sum += static_cast<double>(expf(CleanLogit(row[i]) - max));
  sum = BlockSum(sum);
  if (threadIdx.x == 0) {
    results[blockIdx.x] = {max, IdOf(highest), sum};
    num_found = 0;
  }
  if (wanted == 0) return;
  Filter filter;
  if (wanted < n) Select(row, n, ByCount{static_cast<Mass>(wanted)}, &shared, &filter.cut_key, &filter.cut_id);
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float clean = CleanLogit(row[i]);
    if (!filter.BeforeCut(KeyOf(clean), i)) continue;
    top[blockIdx.x * max_top + atomicAdd(&num_found, 1)] = {static_cast<int32_t>(i), clean};
  }
}

__device__ __forceinline__ void Penalize(const EditRow& edit, int32_t count, float* logit) {
  float value = *logit;
  value = value > 0.0f ? value / edit.repetition_penalty : value * edit.repetition_penalty;
  value -= edit.frequency_penalty * static_cast<float>(count);
  if (count > 0) value -= edit.presence_penalty;
  *logit = value;
}

__global__ void __launch_bounds__(kThreads) EditLogitsKernel(Rows logits, EditCall call) {
  const EditRow edit = call.rows[blockIdx.x];
  float* row = logits.data + edit.row * logits.stride;
  const int thread = static_cast<int>(threadIdx.x);
  if (edit.raw_begin >= 0) {
    float* raw = call.raw + edit.raw_begin;
    for (int i = thread; i < edit.num_bias; i += kThreads) raw[i] = row[call.ids[edit.bias_begin + i]];
    raw += edit.num_bias;
    for (int i = thread; i < edit.num_banned; i += kThreads) raw[i] = row[call.ids[edit.banned_begin + i]];
    raw += edit.num_banned;
    for (int i = thread; i < edit.num_seen; i += kThreads) raw[i] = row[call.ids[edit.seen_begin + i]];
    __syncthreads();
  }
  if (edit.mask_begin >= 0) {
    const uint32_t* mask = call.masks + edit.mask_begin;
    for (int64_t i = thread; i < logits.width; i += kThreads) {
      if ((mask[i / 32] >> (i % 32) & 1u) == 0) row[i] = -INFINITY;
    }
    __syncthreads();
  }
  if (edit.num_allowed > 0) {
    const int32_t* ids = call.ids + edit.allowed_begin;
    float* kept = call.kept + edit.allowed_begin;
    for (int i = thread; i < edit.num_allowed; i += kThreads) kept[i] = row[ids[i]];
    __syncthreads();
    for (int64_t i = thread; i < logits.width; i += kThreads) row[i] = -INFINITY;
    __syncthreads();
    for (int i = thread; i < edit.num_allowed; i += kThreads) row[ids[i]] = kept[i];
    __syncthreads();
  }
  const int bias_step = edit.serial_bias != 0 ? 1 : kThreads;
  for (int i = edit.serial_bias != 0 && thread > 0 ? edit.num_bias : thread; i < edit.num_bias; i += bias_step) {
    row[call.ids[edit.bias_begin + i]] += call.biases[edit.bias_begin + i];
  }
  __syncthreads();
  for (int i = thread; i < edit.num_banned; i += kThreads) row[call.ids[edit.banned_begin + i]] = -INFINITY;
  __syncthreads();
  if (edit.repetition_penalty == 1.0f && edit.frequency_penalty == 0.0f && edit.presence_penalty == 0.0f) return;
  for (int i = thread; i < edit.num_seen; i += kThreads) {
    Penalize(edit, call.counts[edit.seen_begin + i], row + call.ids[edit.seen_begin + i]);
  }
}

}  // namespace

void LaunchSample(const Rows& logits, const DrawArgs* args, DrawResult* results, Stream stream) {
  Launch(SampleKernel, dim3(static_cast<unsigned>(logits.num_rows)), kThreads, 0, stream, logits, args, results);
}

void LaunchLogProbs(const Rows& logits, const int32_t* num_top, int64_t max_top, LogProbResult* results, IdLogit* top,
                    Stream stream) {
  Launch(LogProbsKernel, dim3(static_cast<unsigned>(logits.num_rows)), kThreads, 0, stream, logits, num_top, max_top,
         results, top);
}

void LaunchEditLogits(const Rows& logits, const EditCall& call, Stream stream) {
  Launch(EditLogitsKernel, dim3(static_cast<unsigned>(call.num_rows)), kThreads, 0, stream, logits, call);
}

}  // namespace quire::kernels::cuda
