#include "coordinator/metrics/testing/full_page.h"

#include "absl/time/time.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/metrics/request_recorder.h"

namespace quire::metrics {

Snapshot FullSnapshot(const StepMetrics* steps) {
  Snapshot snapshot;
  snapshot.ready = true;
  snapshot.block_size = 16;
  snapshot.knows_peak_bandwidth = snapshot.knows_peak_compute = true;
  snapshot.replicas.resize(2);
  ReplicaSnapshot& replica = snapshot.replicas[1];
  replica.formed = true;
  replica.num_ranks = 2;
  replica.running = 3;
  replica.waiting = 4;
  replica.kv_usage = 0.25;
  replica.device_blocks = 100;
  replica.swaps = 5;
  replica.recomputes = 6;
  replica.ranks = {{100, 25, 10, 50, 7}, {100, 25, 10, 50, 7}};
  replica.bandwidth_use = 0.5;
  replica.steps = steps;
  return snapshot;
}

std::string FullPage() {
  Metrics metrics({"a \"model\"\n", "0.1.0"});
  StepMetrics steps;
  steps.total.Observe(0.002);
  metrics.CountHttp("/v1/completions", "POST", 200);
  metrics.CountGrpc("Generate", "OK");
  metrics.SetCertificateEnd("http", 1.8e9);
  RequestRecorder recorder(&metrics, {MonotonicNanos(), 10, 1, 16});
  recorder.OnTokens(0, 1, 0);
  recorder.OnTokens(0, 1, 0);
  recorder.OnChoiceEnd(Finish::kStop);
  recorder.OnEnd(absl::OkStatus(), {absl::Seconds(1), absl::Seconds(2), absl::Seconds(3)});
  return metrics.Page(FullSnapshot(&steps));
}

}  // namespace quire::metrics
