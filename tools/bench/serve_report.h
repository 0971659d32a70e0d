// What a run of the load generator says: percentiles, rates, and the shares of the machine's ceilings.
//
// Pure functions, any thread.
#ifndef QUIRE_TOOLS_BENCH_SERVE_REPORT_H_
#define QUIRE_TOOLS_BENCH_SERVE_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/serve_run.h"

namespace quire::bench {

// Milliseconds.
struct Distribution {
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
};

// Percentiles interpolate between the two nearest ranks; all zero for no values.
Distribution Summarize(std::vector<double> seconds);

// The served model as far as the ceilings are concerned. Zero = unknown.
struct ModelCost {
  double weight_bytes = 0;  // read by one decode step, all ranks
  double kv_bytes_per_token = 0;
  double elements = 0;       // in matrices, the output head's included
  double head_elements = 0;  // computed only for tokens that are sampled
};

// What the machine sustains: medians over passes, means over the measurements of a run.
struct Ceilings {
  double read_bytes_per_second = 0;
  double fma_flops_per_second = 0;
  double best_read_bytes_per_second = 0;  // of single passes
};

struct ServerTimes {
  double step_p50 = 0;  // seconds, of recent steps
  double worker_p50 = 0;
};

// TTFT over the workers' own time, measured by requests of one token, one after the other.
struct Overhead {
  bool measured = false;
  int64_t num_probes = 0;
  double ttft_p50 = 0;    // seconds
  double worker_p50 = 0;  // of their steps
};

struct Report {
  int64_t completed = 0;
  int64_t failed = 0;
  std::string first_error;
  double seconds = 0;
  int64_t input_tokens = 0;  // of completed requests, as the next two
  int64_t output_tokens = 0;
  double output_rate = 0;  // tokens per second
  double total_rate = 0;
  Distribution ttft, tpot, itl, e2e;
  double mbu = 0;  // share of the read bandwidth while decoding: bytes of a step / TPOT p50; 0 = unknown
  double mfu = 0;  // share of the FMA rate over the whole run: matrix FLOPs of all tokens / duration; 0 = unknown
  double worker_share = 0;  // of a step
};

Report MakeReport(const RunResult& run, const ModelCost& cost, const Ceilings& ceilings, const ServerTimes& times);

// For people.
std::string FormatReport(const Report& report, const Ceilings& ceilings, const ServerTimes& times,
                         const Overhead& overhead);

// For machines, one object; `config` is the run's flags as a JSON object.
std::string ReportJson(const Report& report, const RunResult& run, const ModelCost& cost, const Ceilings& ceilings,
                       const ServerTimes& times, const Overhead& overhead, const std::string& config);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_SERVE_REPORT_H_
