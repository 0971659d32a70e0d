// Replays a load over the real core on virtual time: the ranks are a formula that says how long a step takes. What the
// scheduler decides shows as throughput and latency, exactly and again.
//
// Single thread; deterministic.
#ifndef QUIRE_TOOLS_BENCH_POLICIES_REPLAY_H_
#define QUIRE_TOOLS_BENCH_POLICIES_REPLAY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"

namespace quire::bench {

// Seconds that a step takes on the ranks.
struct Machine {
  double base = 5e-3;
  double decode = 15e-6;         // per running sequence
  double context = 40e-9;        // per token that a decode attends to
  double prefill = 18e-6;        // per token of a prompt
  double pair = 1e-9;            // per token of a prompt and token that it attends to
  double swapped_block = 80e-6;  // per block that moves out or in
};

struct Lengths {
  int64_t prompt = 0;  // tokens
  int64_t output = 0;
};

// Sends one request after the other, each as soon as the one before has ended.
struct Client {
  std::string tenant;
  std::function<Lengths(int64_t request)> next;
  double start = 0;           // seconds
  int64_t num_requests = -1;  // -1 = without end
};

struct ReplayOptions {
  Machine machine;
  int64_t device_blocks = 1000;
  int64_t host_blocks = 0;
  scheduler::SchedulerOptions scheduler;
  std::vector<Client> clients;
  double warmup = 0;  // seconds that do not count
  double end = 60;
};

// Of the requests and tokens between warmup and end.
struct ReplayResult {
  double tokens_per_second = 0;
  std::vector<double> first_token_seconds;        // sorted; since arrival
  std::vector<double> token_seconds;              // sorted; between tokens of one stream
  std::map<std::string, int64_t> tenant_tokens;   // generated
  std::map<int64_t, double> slowest_first_token;  // by client
  int64_t requests_finished = 0;
  int64_t preemptions = 0;
  int64_t swaps = 0;             // of the preemptions
  int64_t most_preemptions = 0;  // of one request, warmup included
  double blocks_used = 0;        // share, time average
};

ReplayResult Replay(const ReplayOptions& options);

// The value below which a part `p` of the sorted values lies; 0 of none.
double Percentile(const std::vector<double>& sorted, double p);

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_POLICIES_REPLAY_H_
