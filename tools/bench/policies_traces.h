// The loads of //tools/bench:policies: three that are short of KV blocks, one with a greedy tenant, one with a long
// prompt among running streams.
#ifndef QUIRE_TOOLS_BENCH_POLICIES_TRACES_H_
#define QUIRE_TOOLS_BENCH_POLICIES_TRACES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tools/bench/policies_replay.h"

namespace quire::bench {

// Lengths of requests and the machine that they run on.
struct Trace {
  std::string name;
  Machine machine;
  struct Kind {
    double share = 1;  // of the requests
    Lengths least, most;
  };
  std::vector<Kind> kinds;
  double seconds = 600;              // of a whole run
  int64_t clients_at_capacity = 40;  // whose mean need fills the cache
};

// Long contexts on a machine that copies fast: swapping is right. Short contexts on one that copies slowly: computing
// again is right. Both lengths on one in between: it depends on the request.
std::vector<Trace> KvTraces();

struct KvRun {
  double demand = 1;  // mean need of all clients' requests over the cache's blocks
  scheduler::PreemptionMode mode = scheduler::PreemptionMode::kAuto;
  double scale = 1;  // of the trace's seconds
};
ReplayOptions MakeKvRun(const Trace& trace, const KvRun& run);

// Two tenants that always have work; "greedy" has ten times the clients of "modest".
ReplayOptions MakeFairnessRun(scheduler::Policy policy, double seconds);

// `streams` that decode all the time, and, if `prompts`, one prompt of 4,000 tokens after the other.
struct InterferenceRun {
  Machine machine;
  int64_t streams = 16;
  bool prompts = true;
  int64_t target_step_ms = -1;
  double seconds = 60;
};
ReplayOptions MakeInterferenceRun(const InterferenceRun& run);

// Two cores and 135M parameters; one H200 and 8B.
Machine SmallCpu();
Machine BigGpu();

}  // namespace quire::bench

#endif  // QUIRE_TOOLS_BENCH_POLICIES_TRACES_H_
