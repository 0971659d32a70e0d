// Cost of the coordinator's own work in one step, with a fake worker: commit the result of step n and plan step n + 1.
// Budget (design section 12): 100 us at 256 running sequences, 3 ms at 10,000, linear between. Columns: the median step in
// wall time and in CPU time of its thread, its budget, and allocations a step. --json=FILE.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "coordinator/engine/testing/core_driver.h"
#include "tools/bench/count_allocations.h"

namespace quire::engine {
namespace {

// Linear between the two points that are named, and from 0 below.
double BudgetUs(double sequences) {
  if (sequences <= 256) return 100;
  return 100 + (sequences - 256) * (3000.0 - 100.0) / (10000 - 256);
}

double Median(std::vector<double>* values) {
  std::nth_element(values->begin(), values->begin() + static_cast<int64_t>(values->size() / 2), values->end());
  return (*values)[values->size() / 2];
}

// Takes the steps of `step`, which returns the time in the core, and reports them beside their budget.
template <typename F>
void RunSteps(benchmark::State& state, CoreDriver* driver, int64_t num_sequences, F&& step) {
  int64_t allocations = 0, before = 0;
  driver->before_step = [&] { before = NumAllocations(); };
  driver->after_step = [&] { allocations += NumAllocations() - before; };
  std::vector<double> us, cpu_us;
  for (auto _ : state) {
    const TurnTime time = step(driver);
    us.push_back(absl::ToDoubleMicroseconds(time.wall));
    cpu_us.push_back(absl::ToDoubleMicroseconds(time.cpu));
    state.SetIterationTime(absl::ToDoubleSeconds(time.wall));
  }
  const double budget = BudgetUs(static_cast<double>(num_sequences));
  state.counters["wall_us"] = Median(&us);
  state.counters["cpu_us"] = Median(&cpu_us);
  state.counters["budget_us"] = budget;
  state.counters["of_budget_%"] = 100 * Median(&us) / budget;
  state.counters["allocs"] = static_cast<double>(allocations) / static_cast<double>(us.size());
}

void RunSteps(benchmark::State& state, const CoreDriverOptions& options) {
  CoreDriver driver(options);
  RunSteps(state, &driver, options.num_sequences, [](CoreDriver* d) { return d->Answer(); });
}

CoreDriverOptions Sequences(const benchmark::State& state) {
  CoreDriverOptions options;
  options.num_sequences = state.range(0);
  options.max_tokens = 2400;
  return options;
}

void BM_Decode(benchmark::State& state) { RunSteps(state, Sequences(state)); }

void BM_DecodeStopStrings(benchmark::State& state) {
  CoreDriverOptions options = Sequences(state);
  options.stop_strings = true;
  RunSteps(state, options);
}

// Eight choices a request, that share their prompt.
void BM_DecodeForked(benchmark::State& state) {
  CoreDriverOptions options = Sequences(state);
  options.n = 8;
  RunSteps(state, options);
}

// Four beams a request: they branch and are given up in every step.
void BM_Beams(benchmark::State& state) {
  CoreDriverOptions options = Sequences(state);
  options.beam_width = 4;
  RunSteps(state, options);
}

// One request more in a step: range(0) run, its prompt of range(1) tokens is in the prefix cache.
void BM_CacheLookup(benchmark::State& state) {
  CoreDriverOptions options = Sequences(state);
  options.prompt_len = state.range(1);
  options.spare_sequences = 1;
  options.spare_blocks = 10000;
  CoreDriver driver(options);
  RunSteps(state, &driver, options.num_sequences, [](CoreDriver* d) { return d->AdmitAndCancel(d->PromptOf(0)); });
}

// Fewer iterations than max_tokens, so that nobody finishes.
BENCHMARK(BM_Decode)->Arg(1)->Arg(32)->Arg(256)->Iterations(2000)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Decode)->Arg(1000)->Arg(10000)->Iterations(500)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_DecodeStopStrings)->Arg(256)->Arg(10000)->Iterations(500)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_DecodeForked)
    ->Arg(256)
    ->Arg(1000)
    ->Arg(10000)
    ->Iterations(500)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_Beams)->Arg(256)->Arg(1000)->Arg(10000)->Iterations(200)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_CacheLookup)
    ->Args({1, 512})
    ->Args({256, 512})
    ->Args({256, 8192})
    ->Iterations(500)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace quire::engine
