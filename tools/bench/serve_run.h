// Sends a workload to a server and notes when each token came.
//
// Threads: the caller's drives the run and draws the progress bar; gRPC's threads note arrivals, each record owned by
// its call until it ends.
// Invariants:
//   B1  A run ends: at its time limit what is still running is cancelled and counted as failed.
//   B2  Every request that was started has exactly one record.
#ifndef QUIRE_TOOLS_BENCH_SERVE_RUN_H_
#define QUIRE_TOOLS_BENCH_SERVE_RUN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "proto/generate.grpc.pb.h"
#include "tools/bench/serve_workload.h"

namespace quire::bench {

// How one request went. Times in seconds.
struct RequestRecord {
  bool ok = false;
  std::string error;  // of a failed one
  int64_t input_tokens = 0;
  int64_t output_tokens = 0;
  double ttft = 0;           // sent to first token
  double last_token = 0;     // sent to last token
  double e2e = 0;            // sent to end of the call
  std::vector<double> gaps;  // between chunks with tokens
};

struct RunOptions {
  int64_t num_requests = 1;
  int64_t concurrency = 1;  // closed loop: so many at once
  double request_rate = 0;  // > 0: open loop instead, requests per second, however many run
  float temperature = 0;
  uint32_t n = 1;           // choices of a request
  uint32_t beam_width = 0;  // > 0: beam search instead of sampling
  bool progress = true;     // a bar on stderr
  absl::Duration time_limit = absl::Minutes(10);
  WorkloadOptions workload;
  int64_t first_index = 0;  // of the workload's requests
};

struct RunResult {
  std::vector<RequestRecord> records;
  double seconds = 0;           // first sent to last ended
  double mean_used_tokens = 0;  // in the cache while something ran, sampled every 100 ms
  double mean_running = 0;
  uint64_t steps = 0;  // the server's, during the run
  bool timed_out = false;
};

RunResult Run(v1::Generator::Stub* stub, const RunOptions& options);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_SERVE_RUN_H_
