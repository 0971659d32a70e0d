// What the scheduling policies are worth, on virtual time over the real core (policies_replay.h): preemption by swap,
// recompute and auto at 80 to 120 % KV demand on three traces; two tenants under fcfs and fair; a long prompt among
// running streams with and without a step budget. The same figures on every machine. --json=FILE; progress on stderr.
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "nlohmann/json.hpp"
#include "tools/bench/policies_replay.h"
#include "tools/bench/policies_traces.h"

ABSL_FLAG(std::string, parts, "kv,fair,interference", "Which parts to run.");
ABSL_FLAG(double, scale, 1, "Length of the runs.");
ABSL_FLAG(std::string, json, "", "File that receives all figures.");

namespace quire::bench {
namespace {

using nlohmann::json;
using scheduler::PreemptionMode;

const std::pair<PreemptionMode, const char*> kModes[] = {
    {PreemptionMode::kSwap, "swap"}, {PreemptionMode::kRecompute, "recompute"}, {PreemptionMode::kAuto, "auto"}};

void Progress(const std::string& what) { std::fprintf(stderr, "\r%-70s", what.c_str()); }

double Ms(const std::vector<double>& sorted, double p) { return Percentile(sorted, p) * 1e3; }

json ToJson(const ReplayResult& r) {
  return {{"tokens_per_second", r.tokens_per_second},
          {"ttft_ms", {{"p50", Ms(r.first_token_seconds, 0.5)}, {"p99", Ms(r.first_token_seconds, 0.99)}}},
          {"tpot_ms", {{"p50", Ms(r.token_seconds, 0.5)}, {"p99", Ms(r.token_seconds, 0.99)}}},
          {"requests_finished", r.requests_finished},
          {"preemptions", r.preemptions},
          {"swaps", r.swaps},
          {"most_preemptions_of_a_request", r.most_preemptions},
          {"blocks_used_share", r.blocks_used}};
}

json RunKv(double scale) {
  json out = json::array();
  for (const Trace& trace : KvTraces()) {
    std::printf("\nKV demand: %s\n%7s %-10s %9s %10s %10s %9s %9s %9s %7s %5s %6s\n", trace.name.c_str(), "demand",
                "mode", "tokens/s", "ttft p50", "ttft p99", "tpot p50", "tpot p99", "preempted", "swapped", "most",
                "blocks");
    for (const double demand : {0.8, 0.9, 1.0, 1.1, 1.2}) {
      for (const auto& [mode, name] : kModes) {
        Progress(trace.name + ", " + name + " at " + std::to_string(static_cast<int>(demand * 100 + 0.5)) + " %");
        const ReplayResult r = Replay(MakeKvRun(trace, {demand, mode, scale}));
        std::printf("%6.0f%% %-10s %9.1f %8.0fms %8.0fms %7.1fms %7.1fms %9lld %7lld %5lld %5.1f%%\n", demand * 100,
                    name, r.tokens_per_second, Ms(r.first_token_seconds, 0.5), Ms(r.first_token_seconds, 0.99),
                    Ms(r.token_seconds, 0.5), Ms(r.token_seconds, 0.99), static_cast<long long>(r.preemptions),
                    static_cast<long long>(r.swaps), static_cast<long long>(r.most_preemptions), r.blocks_used * 100);
        json row = ToJson(r);
        row["trace"] = trace.name;
        row["demand"] = demand;
        row["mode"] = name;
        out.push_back(std::move(row));
      }
    }
  }
  return out;
}

json RunFairness(double seconds) {
  json out = json::array();
  std::printf("\nTwo busy tenants, one with ten times the requests\n%-7s %9s %14s %14s\n", "policy", "tokens/s",
              "greedy's share", "modest's share");
  for (const auto& [policy, name] :
       {std::make_pair(scheduler::Policy::kFcfs, "fcfs"), std::make_pair(scheduler::Policy::kFair, "fair")}) {
    Progress(std::string("fairness, ") + name);
    ReplayResult r = Replay(MakeFairnessRun(policy, seconds));
    const double greedy = static_cast<double>(r.tenant_tokens["greedy"]);
    const double modest = static_cast<double>(r.tenant_tokens["modest"]);
    std::printf("%-7s %9.1f %13.1f%% %13.1f%%\n", name, r.tokens_per_second, 100 * greedy / (greedy + modest),
                100 * modest / (greedy + modest));
    json row = ToJson(r);
    row["policy"] = name;
    row["modest_share"] = modest / (greedy + modest);
    out.push_back(std::move(row));
  }
  return out;
}

json RunInterference(double seconds) {
  json out = json::array();
  const std::pair<Machine, const char*> machines[] = {{SmallCpu(), "135M on 2 cores"}, {BigGpu(), "8B on an H200"}};
  for (const auto& [machine, machine_name] : machines) {
    std::printf("\nPrompts of 4,000 tokens, one after the other, among 16 streams: %s\n%-24s %10s %10s %8s %11s\n",
                machine_name, "target_step_ms", "tpot p50", "tpot p99", "p99 x", "prompt ttft");
    double alone = 0;
    for (const auto& [prompts, target, name] :
         {std::make_tuple(false, int64_t{0}, "no prompts"), std::make_tuple(true, int64_t{0}, "0 (off)"),
          std::make_tuple(true, int64_t{50}, "50"), std::make_tuple(true, int64_t{-1}, "-1 (default)")}) {
      Progress(std::string("interference, ") + machine_name + ", " + name);
      const ReplayResult r = Replay(MakeInterferenceRun({machine, 16, prompts, target, seconds}));
      const double p99 = Ms(r.token_seconds, 0.99);
      if (!prompts) alone = p99;
      std::printf("%-24s %8.1fms %8.1fms %7.2fx %9.0fms\n", name, Ms(r.token_seconds, 0.5), p99, p99 / alone,
                  Ms(r.first_token_seconds, 0.5));
      json row = ToJson(r);
      row["machine"] = machine_name;
      row["target_step_ms"] = target;
      row["prompts"] = prompts;
      row["p99_ratio"] = p99 / alone;
      out.push_back(std::move(row));
    }
  }
  return out;
}

int Main(int argc, char** argv) {
  absl::SetProgramUsageMessage("Scheduling policies on virtual time.\n\n  policies [--parts=kv,fair] [--json=FILE]");
  absl::ParseCommandLine(argc, argv);
  const std::string parts = absl::GetFlag(FLAGS_parts);
  const double scale = absl::GetFlag(FLAGS_scale);
  json out;
  if (absl::StrContains(parts, "kv")) out["kv"] = RunKv(scale);
  if (absl::StrContains(parts, "fair")) out["fairness"] = RunFairness(60 * scale);
  if (absl::StrContains(parts, "interference")) out["interference"] = RunInterference(60 * scale);
  Progress("");
  std::fprintf(stderr, "\n");
  const std::string path = absl::GetFlag(FLAGS_json);
  if (path.empty()) return 0;
  std::ofstream file(path);
  file << out.dump(2) << "\n";
  return file.good() ? 0 : 1;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) { return quire::bench::Main(argc, argv); }
