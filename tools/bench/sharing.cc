// How full the blocks of a trace are, and what sharing them saves, beside the figures of the PagedAttention paper
// (arXiv 2309.06180): the real scheduler and block tables over ranks that answer at once, on virtual time.
//
//   bazel run -c opt //tools/bench:sharing -- [--requests=2000] [--json=FILE]
//
// Only lengths count, so the figures are the same on every machine.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "tools/bench/sharing_sim.h"

ABSL_FLAG(int64_t, requests, 2000, "requests of each trace");
ABSL_FLAG(uint64_t, seed, 1, "of lengths and arrivals");
ABSL_FLAG(std::string, json, "", "also write the figures to this file");

namespace quire::bench {
namespace {

constexpr double kUnknown = -1;

// One trace and what the paper says of its like.
struct Case {
  const char* name;
  LengthShape shape;
  uint32_t n;
  uint32_t beam_width;
  double rate;         // requests per second: about 100 sequences run
  double paper_saved;  // figure 15, percent; kUnknown = it does not say for this width
};

// The paper prints both ends of its curves over 2, 4 and 6 choices.
constexpr Case kCases[] = {
    {"ShareGPT, one choice", LengthShape::kShareGpt, 1, 0, 16, kUnknown},
    {"Alpaca, n=2", LengthShape::kAlpaca, 2, 0, 40, 6.1},
    {"Alpaca, n=4", LengthShape::kAlpaca, 4, 0, 20, kUnknown},
    {"Alpaca, n=6", LengthShape::kAlpaca, 6, 0, 14, 9.8},
    {"ShareGPT, n=2", LengthShape::kShareGpt, 2, 0, 8, 16.2},
    {"ShareGPT, n=4", LengthShape::kShareGpt, 4, 0, 4, kUnknown},
    {"ShareGPT, n=6", LengthShape::kShareGpt, 6, 0, 3, 30.5},
    {"Alpaca, beam 2", LengthShape::kAlpaca, 1, 2, 40, 37.6},
    {"Alpaca, beam 4", LengthShape::kAlpaca, 1, 4, 20, kUnknown},
    {"Alpaca, beam 6", LengthShape::kAlpaca, 1, 6, 14, 55.2},
    {"ShareGPT, beam 2", LengthShape::kShareGpt, 1, 2, 8, 44.3},
    {"ShareGPT, beam 4", LengthShape::kShareGpt, 1, 4, 4, kUnknown},
    {"ShareGPT, beam 6", LengthShape::kShareGpt, 1, 6, 3, 66.3},
};

nlohmann::json RunCase(const Case& c) {
  TraceOptions trace;
  trace.seed = absl::GetFlag(FLAGS_seed);
  trace.count = absl::GetFlag(FLAGS_requests);
  trace.rate = c.rate;
  trace.shape = c.shape;
  trace.n = c.n;
  trace.beam_width = c.beam_width;
  const SharingFigures got = RunTrace({}, MakeTrace(trace));
  const std::string paper = c.paper_saved == kUnknown ? "-" : std::to_string(c.paper_saved).substr(0, 4);
  std::printf("%-22s %9.2f %% %9.1f %% %8s %% %9lld %9lld\n", c.name, 100 * got.waste, 100 * got.saved, paper.c_str(),
              static_cast<long long>(got.block_copies), static_cast<long long>(got.preemptions));
  nlohmann::json row = {{"name", c.name},
                        {"waste", got.waste},
                        {"saved", got.saved},
                        {"steps", got.steps},
                        {"block_copies", got.block_copies},
                        {"preemptions", got.preemptions}};
  if (c.paper_saved != kUnknown) row["paper_saved"] = c.paper_saved / 100;
  return row;
}

nlohmann::json RunOnePrompt() {
  const SharingFigures got = RunTrace({}, {{absl::ZeroDuration(), 512, 256, 8, 0}});
  std::printf(
      "\nn=8 over one prompt of 512 tokens: %lld prompt tokens computed, at most %.2f %% more blocks than ideal\n",
      static_cast<long long>(got.prefill_tokens), 100 * got.above_ideal);
  return {{"prompt", 512}, {"n", 8}, {"prefill_tokens", got.prefill_tokens}, {"above_ideal", got.above_ideal}};
}

}  // namespace

int Main(int argc, char** argv) {
  absl::SetProgramUsageMessage("how full KV blocks are, and what sharing them saves; see the head of sharing.cc");
  absl::ParseCommandLine(argc, argv);
  nlohmann::json out;
  std::printf("%-22s %11s %11s %10s %9s %9s\n", "trace, blocks of 16", "empty slots", "saved", "the paper", "copies",
              "preempted");
  for (const Case& c : kCases) out["traces"].push_back(RunCase(c));
  out["one_prompt"] = RunOnePrompt();
  const std::string path = absl::GetFlag(FLAGS_json);
  if (path.empty()) return 0;
  std::ofstream file(path);
  file << out.dump(1) << "\n";
  if (file.good()) return 0;
  std::fprintf(stderr, "sharing: cannot write %s\n", path.c_str());
  return 1;
}

}  // namespace quire::bench

int main(int argc, char** argv) { return quire::bench::Main(argc, argv); }
