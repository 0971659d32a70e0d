#include "kernels/cpu/thread_pool.h"

#include <chrono>
#include <numeric>
#include <thread>

#include "gtest/gtest.h"

namespace quire::kernels::cpu {
namespace {

TEST(SplitRange, CoversOnceAndEvenly) {
  for (int64_t count : {0, 1, 2, 7, 36, 1000}) {
    for (int64_t parts : {1, 2, 3, 16}) {
      int64_t next = 0;
      for (int64_t i = 0; i < parts; ++i) {
        const Range r = SplitRange(count, parts, i);
        EXPECT_EQ(r.begin, next);
        EXPECT_LE(r.size(), count / parts + 1);
        next = r.end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(ThreadPool, EveryThreadRunsOncePerRun) {
  for (int num_threads : {1, 2, 3, 8}) {
    ThreadPool pool(num_threads);
    std::vector<int> calls(num_threads, 0);  // unsynchronised on purpose: Run must order its calls
    for (int i = 0; i < 2000; ++i) pool.Run([&](int thread) { ++calls[thread]; });
    EXPECT_EQ(calls, std::vector<int>(num_threads, 2000));
  }
}

TEST(ThreadPool, WakesAfterSleep) {
  ThreadPool pool(3);
  std::vector<int> calls(3, 0);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // past any spin
    pool.Run([&](int thread) {
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the caller sleeps too
      ++calls[thread];
    });
  }
  EXPECT_EQ(calls, std::vector<int>(3, 5));
}

TEST(ThreadPool, ParallelForCoversEveryIndexOnce) {
  ThreadPool pool(3);
  for (bool serial : {false, true}) {
    for (int64_t count : {0, 1, 2, 3, 100}) {
      std::vector<int> hits(count, 0);
      pool.ParallelFor(count, serial, [&](Range range, int) {
        for (int64_t i = range.begin; i < range.end; ++i) ++hits[i];
      });
      EXPECT_EQ(hits, std::vector<int>(count, 1));
    }
  }
}

}  // namespace
}  // namespace quire::kernels::cpu
