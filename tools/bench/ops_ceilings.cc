#include "tools/bench/ops_ceilings.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tools/bench/ops_ceilings.cc"
#include "hwy/foreach_target.h"
// clang-format off: foreach_target.h must come before highway.h
#include "hwy/cache_control.h"
#include "hwy/highway.h"
// clang-format on

#include <glog/logging.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "kernels/cpu/host_memory.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"

#ifndef QUIRE_TOOLS_BENCH_OPS_CEILINGS_LOOPS_  // once, before the targets
#define QUIRE_TOOLS_BENCH_OPS_CEILINGS_LOOPS_
namespace quire::bench {
namespace {

constexpr int kReadPatterns = 3;  // which of them is fastest differs from machine to machine

struct Loops {
  float (*fma)(int64_t);
  int64_t (*flops_per_turn)();
  uint64_t (*read[kReadPatterns])(const uint64_t*, int64_t);
};

}  // namespace
}  // namespace quire::bench
#endif

HWY_BEFORE_NAMESPACE();
namespace quire::bench::HWY_NAMESPACE {
namespace {  // other files of kernels have functions of these names

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kChains = 16;  // more than latency times width of any core

// Does kChains independent multiply-adds per turn; returns something that depends on all.
HWY_NOINLINE float FmaLoop(int64_t turns) {
  const hn::CappedTag<float, 16> d;
  hn::Vec<decltype(d)> acc[kChains];
  const auto a = hn::Set(d, 0.999f);
  const auto b = hn::Set(d, 0.001f);
  for (int i = 0; i < kChains; ++i) acc[i] = hn::Set(d, static_cast<float>(i));
  for (int64_t t = 0; t < turns; ++t) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; ++i) acc[i] = hn::MulAdd(acc[i], a, b);
  }
  for (int i = 1; i < kChains; ++i) acc[0] = hn::Add(acc[0], acc[i]);
  return hn::GetLane(hn::SumOfLanes(d, acc[0]));
}

int64_t FmaLoopFlopsPerTurn() { return 2 * kChains * static_cast<int64_t>(hn::Lanes(hn::CappedTag<float, 16>())); }

// Reads [data, data + bytes) from its beginning to its end.
HWY_NOINLINE uint64_t ReadInOrder(const uint64_t* data, int64_t bytes) {
  const hn::CappedTag<uint64_t, 8> d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d);
  auto b = a;
  for (int64_t i = 0; i + 32 <= bytes / 8; i += 32) {
    for (int64_t j = i; j < i + 32; j += 2 * step) {
      a = hn::Xor(a, hn::LoadU(d, data + j));
      b = hn::Xor(b, hn::LoadU(d, data + j + step));
    }
  }
  return hn::GetLane(hn::Xor(a, b));
}

// Reads [data, data + bytes) in four streams at once.
template <bool kPrefetch>
HWY_NOINLINE uint64_t ReadFourStreams(const uint64_t* data, int64_t bytes) {
  const hn::CappedTag<uint64_t, 8> d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const int64_t stream = bytes / 4 / 64 * 8;  // elements
  auto a = hn::Zero(d);
  auto b = a;
  for (int64_t i = 0; i + 8 <= stream; i += 8) {
    for (int s = 0; kPrefetch && s < 4; ++s) {
      hwy::Prefetch(data + s * stream + std::min<int64_t>(i + 512, stream - 8));
    }
    for (int64_t j = i; j < i + 8; j += step) {
      a = hn::Xor(a, hn::Xor(hn::LoadU(d, data + j), hn::LoadU(d, data + stream + j)));
      b = hn::Xor(b, hn::Xor(hn::LoadU(d, data + 2 * stream + j), hn::LoadU(d, data + 3 * stream + j)));
    }
  }
  return hn::GetLane(hn::Xor(a, b));
}

Loops Table() { return {FmaLoop, FmaLoopFlopsPerTurn, {ReadInOrder, ReadFourStreams<false>, ReadFourStreams<true>}}; }

}  // namespace
}  // namespace quire::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace quire::bench {
namespace {

Loops LoopsFor(int64_t target) {
#if HWY_TARGETS & HWY_AVX3
  if (target == HWY_AVX3) return N_AVX3::Table();
#endif
#if HWY_TARGETS & HWY_AVX2
  if (target == HWY_AVX2) return N_AVX2::Table();
#endif
  return HWY_STATIC_DISPATCH(Table)();
}

// Rate of passes that each do `work` units on all threads, in `kinds` ways in turn: of the kind with the highest median.
template <typename Pass>
Rate RateOf(double work, Clock clock, absl::Duration duration, int kinds, Pass&& pass) {
  std::vector<std::vector<double>> rates(kinds);
  const absl::Time end = absl::Now() + duration;
  for (int turn = 0; turn < kinds || absl::Now() < end; ++turn) {
    const int64_t begin = ClockNanos(clock);
    pass(turn % kinds);
    rates[turn % kinds].push_back(work * 1e9 / static_cast<double>(ClockNanos(clock) - begin));
  }
  Rate out;
  for (std::vector<double>& kind : rates) {
    std::sort(kind.begin(), kind.end());
    if (kind[kind.size() / 2] > out.median) out = {kind[kind.size() / 2], kind.back()};
  }
  return out;
}

}  // namespace

int64_t ClockNanos(Clock clock) {
  timespec now;
  PCHECK(clock_gettime(clock == Clock::kWall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &now) == 0);
  return now.tv_sec * int64_t{1000000000} + now.tv_nsec;
}

Rate MeasureReadBytesPerSecond(int num_threads, Clock clock, absl::Duration duration) {
  constexpr int64_t kBytes = int64_t{512} << 20;
  auto buffer = kernels::cpu::AllocateHost(kBytes);
  CHECK(buffer.ok()) << buffer.status();
  auto* data = static_cast<uint64_t*>((*buffer)->data());
  kernels::cpu::ThreadPool pool(num_threads);
  const Loops loops = LoopsFor(kernels::cpu::SupportedIsas()[0].target);
  pool.ParallelFor(kBytes / 8, false, [&](kernels::cpu::Range r, int) { std::fill(data + r.begin, data + r.end, 1); });
  std::vector<uint64_t> sink(num_threads * 8);
  return RateOf(kBytes, clock, duration, kReadPatterns, [&](int pattern) {
    pool.Run([&](int thread) {
      const kernels::cpu::Range r = kernels::cpu::SplitRange(kBytes / 8, num_threads, thread);
      sink[thread * 8] += loops.read[pattern](data + r.begin, r.size() * 8);
    });
  });
}

Rate MeasureFmaFlopsPerSecond(int num_threads, const std::string& isa, Clock clock, absl::Duration duration) {
  int64_t target = 0;
  for (const kernels::cpu::Isa& one : kernels::cpu::SupportedIsas()) target = one.name == isa ? one.target : target;
  CHECK_NE(target, 0) << "no instruction set " << isa;
  const Loops loops = LoopsFor(target);
  constexpr int64_t kTurns = 400000;
  kernels::cpu::ThreadPool pool(num_threads);
  std::vector<float> sink(num_threads * 16);
  return RateOf(static_cast<double>(kTurns * loops.flops_per_turn() * num_threads), clock, duration, 1,
                [&](int) { pool.Run([&](int thread) { sink[thread * 16] += loops.fma(kTurns); }); });
}

}  // namespace quire::bench
#endif  // HWY_ONCE
