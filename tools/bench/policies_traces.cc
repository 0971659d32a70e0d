// See policies_traces.h.
#include "tools/bench/policies_traces.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace quire::bench {
namespace {

constexpr int64_t kBlockSize = 16;

// The lengths of a client's n-th request: the same whoever asks, and in whatever order.
Lengths Draw(const Trace& trace, uint64_t client, int64_t request) {
  std::mt19937_64 rng(client * 1000003 + static_cast<uint64_t>(request));
  double pick = std::uniform_real_distribution<double>(0, 1)(rng);
  const Trace::Kind* kind = &trace.kinds.back();
  for (const Trace::Kind& k : trace.kinds) {
    if (pick < k.share) {
      kind = &k;
      break;
    }
    pick -= k.share;
  }
  return {std::uniform_int_distribution<int64_t>(kind->least.prompt, kind->most.prompt)(rng),
          std::uniform_int_distribution<int64_t>(kind->least.output, kind->most.output)(rng)};
}

// Blocks that a client's requests hold on the average over the time that they run: the output is half there.
double MeanNeed(const Trace& trace) {
  double block_tokens = 0, tokens = 0;  // weighted by the length of the output, which is the time that it takes
  for (int64_t i = 0; i < 4000; ++i) {
    const Lengths l = Draw(trace, 1 << 20, i);
    const double output = static_cast<double>(l.output);
    block_tokens += output * (static_cast<double>(l.prompt) + output / 2 + kBlockSize / 2.0);
    tokens += output;
  }
  return block_tokens / tokens / kBlockSize;
}

}  // namespace

Machine SmallCpu() { return {7e-3, 0.85e-3, 0.5e-6, 0.54e-3, 0.23e-6, 20e-6}; }
Machine BigGpu() { return {5e-3, 15e-6, 40e-9, 18e-6, 1e-9, 80e-6}; }

std::vector<Trace> KvTraces() {
  std::vector<Trace> traces(3);
  traces[0].name = "long contexts, fast copies";
  traces[0].machine = SmallCpu();
  traces[0].kinds = {{1, {500, 500}, {1500, 1500}}};
  traces[0].seconds = 3000;
  traces[1].name = "short contexts, slow copies";
  traces[1].machine = BigGpu();
  traces[1].machine.swapped_block = 2e-3;
  traces[1].kinds = {{1, {50, 100}, {200, 400}}};
  traces[1].clients_at_capacity = 60;
  traces[1].seconds = 120;
  traces[2].name = "mixed";
  traces[2].machine = BigGpu();
  traces[2].machine.swapped_block = 170e-6;
  traces[2].machine.pair = 10e-9;
  traces[2].kinds = {{0.8, {50, 100}, {200, 400}}, {0.2, {1000, 2000}, {3000, 4000}}};
  traces[2].seconds = 600;
  return traces;
}

ReplayOptions MakeKvRun(const Trace& trace, const KvRun& run) {
  ReplayOptions options;
  options.machine = trace.machine;
  const double need = MeanNeed(trace);
  options.device_blocks = std::llround(need * static_cast<double>(trace.clients_at_capacity));
  options.host_blocks = 2 * options.device_blocks;
  options.scheduler.preemption_mode = run.mode;
  options.scheduler.target_step_ms = scheduler::kAutoTarget;
  options.warmup = run.scale * trace.seconds / 6;
  options.end = run.scale * trace.seconds;
  const int64_t clients = std::llround(run.demand * static_cast<double>(trace.clients_at_capacity));
  for (int64_t c = 0; c < clients; ++c) {
    Client client;
    client.start = 0.01 * static_cast<double>(c);
    client.next = [trace, c](int64_t request) { return Draw(trace, static_cast<uint64_t>(c), request); };
    options.clients.push_back(std::move(client));
  }
  return options;
}

ReplayOptions MakeFairnessRun(scheduler::Policy policy, double seconds) {
  ReplayOptions options;
  options.machine = BigGpu();
  options.device_blocks = 4000;
  options.scheduler.policy = policy;
  options.scheduler.max_num_seqs = 32;
  options.scheduler.target_step_ms = scheduler::kAutoTarget;
  options.warmup = seconds / 6;
  options.end = seconds;
  Trace trace;
  trace.kinds = {{1, {50, 50}, {400, 200}}};
  for (int64_t c = 0; c < 220; ++c) {
    Client client;
    client.tenant = c % 11 == 0 ? "modest" : "greedy";
    client.next = [trace, c](int64_t request) { return Draw(trace, static_cast<uint64_t>(c), request); };
    options.clients.push_back(std::move(client));
  }
  return options;
}

ReplayOptions MakeInterferenceRun(const InterferenceRun& run) {
  ReplayOptions options;
  options.machine = run.machine;
  options.device_blocks = 100000;
  options.scheduler.target_step_ms = run.target_step_ms;
  options.warmup = run.seconds / 6;
  options.end = run.seconds;
  for (int64_t c = 0; c < run.streams; ++c) {
    Client client;
    client.tenant = "stream";
    client.start = 0.05 * static_cast<double>(c);
    client.next = [](int64_t) { return Lengths{50, 100000}; };
    options.clients.push_back(std::move(client));
  }
  if (run.prompts) {
    Client client;
    client.tenant = "prompts";
    client.start = run.seconds / 6;
    client.next = [](int64_t) { return Lengths{4000, 1}; };
    options.clients.push_back(std::move(client));
  }
  return options;
}

}  // namespace quire::bench
