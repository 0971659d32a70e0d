// What observing costs the thread that does it. The limit: a fifth of what the core takes for a token.
#include <benchmark/benchmark.h>

#include "coordinator/metrics/request_recorder.h"

namespace quire::metrics {
namespace {

void BM_Token(benchmark::State& state) {
  Metrics metrics({"m", "0"});
  RequestRecorder recorder(&metrics, {MonotonicNanos(), 100, 1, 1 << 30});
  for (auto _ : state) recorder.OnTokens(0, 1, 0);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Token);

// A request of one token: what it costs beside its tokens.
void BM_Request(benchmark::State& state) {
  Metrics metrics({"m", "0"});
  for (auto _ : state) {
    RequestRecorder recorder(&metrics, {MonotonicNanos(), 100, 1, 16});
    recorder.OnTokens(0, 1, 0);
    recorder.OnChoiceEnd(Finish::kLength);
    recorder.OnEnd(absl::OkStatus(), {});
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_Request);

void BM_ObserveStep(benchmark::State& state) {
  StepMetrics steps;
  for (auto _ : state) {
    steps.total.Observe(0.01);
    steps.exec.Observe(0.009);
    steps.collective.Observe(0.001);
    steps.wait.Observe(0.0001);
    steps.swap.Observe(0);
    steps.tokens.Observe(256);
  }
}
BENCHMARK(BM_ObserveStep);

void BM_Page(benchmark::State& state) {
  Metrics metrics({"m", "0"});
  StepMetrics steps;
  Snapshot snapshot;
  snapshot.block_size = 16;
  ReplicaSnapshot replica;
  replica.steps = &steps;
  replica.ranks.resize(4);
  snapshot.replicas.assign(static_cast<size_t>(state.range(0)), replica);
  for (auto _ : state) benchmark::DoNotOptimize(metrics.Page(snapshot));
}
BENCHMARK(BM_Page)->Arg(1)->Arg(8);

}  // namespace
}  // namespace quire::metrics
