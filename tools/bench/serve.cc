// Load generator: measures a running server through gRPC, beside the ceilings of the machine that it runs on.
//
//   serve --server=127.0.0.1:50051 --concurrency=16 --num_prompts=64 --input_len=128 --output_len=64   closed loop
//   serve --request_rate=2 --input_len=64-512 --output_len=16-128                                      open loop
//   (Poisson) serve --lengths=sharegpt ...
//   lengths of chats
//
// Prompts are random token ids, seeded; answers run to their full length (ignore_eos). The ceilings (memory read
// bandwidth, f32 multiply-add rate) are measured before, between (--rounds) and after the parts of the run, while the
// server is idle, with the code of //tools/bench:ops: medians of passes, whose mean counts, for on a shared machine they
// move. They mean something only if the server runs on this machine; otherwise give --ceilings=false. Exit codes: 0 all
// requests completed, 1 some failed or no server, 2 bad usage.
#include <grpcpp/grpcpp.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "kernels/backend.h"
#include "proto/generate.grpc.pb.h"
#include "tools/bench/ops_ceilings.h"
#include "tools/bench/serve_report.h"
#include "tools/bench/serve_run.h"
#include "tools/bench/serve_workload.h"

ABSL_FLAG(std::string, server, "127.0.0.1:50051", "host:port of the coordinator");
ABSL_FLAG(int64_t, num_prompts, 32, "requests to send");
ABSL_FLAG(int64_t, concurrency, 1, "closed loop: requests at once");
ABSL_FLAG(double, request_rate, 0, "open loop: requests per second on average, Poisson arrivals; 0 = closed loop");
ABSL_FLAG(std::string, lengths, "fixed",
          "fixed: --input_len and --output_len; sharegpt: log-normal, means 161 in and 338 out");
ABSL_FLAG(std::string, input_len, "128", "tokens of a prompt: \"128\", or uniform in \"64-256\"");
ABSL_FLAG(std::string, output_len, "64", "tokens of an answer, likewise");
ABSL_FLAG(double, temperature, 0, "0 = greedy");
ABSL_FLAG(uint32_t, n, 1, "choices of each request; more than 1 wants a temperature or --beam_width");
ABSL_FLAG(uint32_t, beam_width, 0, "beam search with so many beams instead of sampling; 0 = none");
ABSL_FLAG(uint64_t, seed, 1, "of prompts, lengths and arrivals");
ABSL_FLAG(int64_t, warmup, 2, "requests before the measurement");
ABSL_FLAG(int64_t, overhead_probes, 64, "one-token requests for the first-token overhead, before the run; 0 = none");
ABSL_FLAG(absl::Duration, time_limit, absl::Minutes(10),
          "of the run; what still runs then is cancelled and has failed");
ABSL_FLAG(bool, ceilings, true,
          "measure the machine's memory bandwidth and multiply-add rate before and after the run");
ABSL_FLAG(int32_t, threads, 0, "threads of that measurement; 0 = all");
ABSL_FLAG(int64_t, rounds, 1, "parts of the run: that measurement is made before, between and after them");
ABSL_FLAG(std::string, json, "", "file for the results");

namespace quire::bench {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
// The server's medians are over its last 64 steps: so many probes fill that window with their own.
constexpr int64_t kStepWindow = 64;
constexpr int64_t kProbeInput = 16;
constexpr absl::Duration kProbeLimit = absl::Seconds(60);

[[noreturn]] void UsageError(absl::string_view what) {
  std::cerr << "serve: " << what << "\n";
  std::exit(kExitUsage);
}

struct ServerFacts {
  v1::GetModelInfoResponse model;
  v1::GetServerInfoResponse server;
};

grpc::Status GetFacts(v1::Generator::Stub* stub, ServerFacts* facts) {
  grpc::ClientContext c1, c2;
  c1.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  c2.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  const grpc::Status status = stub->GetModelInfo(&c1, v1::GetModelInfoRequest(), &facts->model);
  if (!status.ok()) return status;
  return stub->GetServerInfo(&c2, v1::GetServerInfoRequest(), &facts->server);
}

ServerTimes GetTimes(v1::Generator::Stub* stub) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  v1::GetServerInfoResponse info;
  stub->GetServerInfo(&context, v1::GetServerInfoRequest(), &info);
  return {info.step_seconds_p50(), info.worker_seconds_p50()};
}

double BytesPerElement(const std::string& dtype) {
  if (absl::StrContains(dtype, "16")) return 2;
  if (absl::StrContains(dtype, "32")) return 4;
  if (absl::StrContains(dtype, "8")) return 1;
  return 0;
}

// The width of the model, from the config.json beside the weights if this machine has it: the server does not tell. 0
// = unknown; then the output head counts for every token, which flatters prefill.
double HiddenSize(const std::string& model_path) {
  std::ifstream file(absl::StrCat(model_path, "/config.json"));
  const nlohmann::json config = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return 0;
  for (const char* key : {"hidden_size", "n_embd"}) {
    if (config.contains(key) && config[key].is_number()) return config[key].get<double>();
  }
  return 0;
}

ModelCost CostOf(const ServerFacts& facts) {
  ModelCost cost;
  cost.weight_bytes = static_cast<double>(facts.server.weight_bytes());
  cost.kv_bytes_per_token = static_cast<double>(facts.server.kv_bytes_per_token());
  const double bytes = BytesPerElement(facts.server.dtype());
  if (bytes > 0) cost.elements = cost.weight_bytes / bytes;
  const double head = HiddenSize(facts.model.model_path()) * facts.model.vocab_size();
  if (head < cost.elements) cost.head_elements = head;
  return cost;
}

Ceilings Mean(const std::vector<Ceilings>& all) {
  Ceilings mean;
  const auto count = static_cast<double>(all.size());
  for (const Ceilings& one : all) {
    mean.read_bytes_per_second += one.read_bytes_per_second / count;
    mean.fma_flops_per_second += one.fma_flops_per_second / count;
    mean.best_read_bytes_per_second = std::max(mean.best_read_bytes_per_second, one.best_read_bytes_per_second);
  }
  return mean;
}

Ceilings MeasureCeilings() {
  Ceilings ceilings;
  if (!absl::GetFlag(FLAGS_ceilings)) return ceilings;
  int threads = absl::GetFlag(FLAGS_threads);
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::cerr << "measuring this machine with " << threads << " threads: " << std::flush;
  const Rate read = MeasureReadBytesPerSecond(threads, Clock::kWall, absl::Seconds(1));
  ceilings.read_bytes_per_second = read.median;
  ceilings.best_read_bytes_per_second = read.best;
  for (const std::string& isa : kernels::CpuIsas()) {
    const Rate fma = MeasureFmaFlopsPerSecond(threads, isa, Clock::kWall, absl::Milliseconds(300));
    ceilings.fma_flops_per_second = std::max(ceilings.fma_flops_per_second, fma.median);
  }
  std::fprintf(stderr, "%.1f GB/s read (best pass %.1f), %.0f GFLOP/s\n", read.median * 1e-9, read.best * 1e-9,
               ceilings.fma_flops_per_second * 1e-9);
  return ceilings;
}

RunOptions MakeRunOptions(const ServerFacts& facts) {
  RunOptions run;
  run.num_requests = absl::GetFlag(FLAGS_num_prompts);
  run.concurrency = absl::GetFlag(FLAGS_concurrency);
  run.request_rate = absl::GetFlag(FLAGS_request_rate);
  run.temperature = static_cast<float>(absl::GetFlag(FLAGS_temperature));
  run.n = absl::GetFlag(FLAGS_n);
  run.beam_width = absl::GetFlag(FLAGS_beam_width);
  run.time_limit = absl::GetFlag(FLAGS_time_limit);
  if (run.num_requests < 1) UsageError("--num_prompts must be at least 1");
  if (run.concurrency < 1) UsageError("--concurrency must be at least 1");
  if (!(run.request_rate >= 0)) UsageError("--request_rate must not be negative");
  const std::string lengths = absl::GetFlag(FLAGS_lengths);
  if (lengths != "fixed" && lengths != "sharegpt") UsageError("--lengths must be fixed or sharegpt");
  const absl::StatusOr<LengthRange> input = ParseLengthRange(absl::GetFlag(FLAGS_input_len));
  const absl::StatusOr<LengthRange> output = ParseLengthRange(absl::GetFlag(FLAGS_output_len));
  if (!input.ok()) UsageError(absl::StrCat("--input_len: ", input.status().message()));
  if (!output.ok()) UsageError(absl::StrCat("--output_len: ", output.status().message()));
  const auto room = static_cast<int64_t>(facts.model.max_context_length());
  if (lengths == "fixed" && input->most + output->most > room) {
    UsageError(absl::StrCat("--input_len + --output_len = ", input->most + output->most,
                            " tokens, but the model's context has ", room));
  }
  run.workload = {absl::GetFlag(FLAGS_seed),
                  lengths == "sharegpt" ? LengthShape::kShareGpt : LengthShape::kRanges,
                  *input,
                  *output,
                  static_cast<int64_t>(facts.model.vocab_size()),
                  room};
  return run;
}

// Requests of one token, one after the other: their TTFT beside the time that the workers spent on them.
Overhead MeasureOverhead(v1::Generator::Stub* stub, const RunOptions& run) {
  Overhead overhead;
  if (absl::GetFlag(FLAGS_overhead_probes) < kStepWindow) return overhead;
  RunOptions probes = run;
  probes.num_requests = absl::GetFlag(FLAGS_overhead_probes);
  probes.concurrency = 1;
  probes.request_rate = 0;
  probes.progress = false;
  probes.time_limit = kProbeLimit;
  probes.workload.shape = LengthShape::kRanges;
  probes.workload.input = {kProbeInput, kProbeInput};
  probes.workload.output = {1, 1};
  probes.first_index = int64_t{1} << 40;
  const RunResult result = Run(stub, probes);
  std::vector<double> ttft;
  for (const RequestRecord& record : result.records) {
    if (record.ok) ttft.push_back(record.ttft);
  }
  overhead.num_probes = static_cast<int64_t>(ttft.size());
  // One step computes the token, a second one without work may tell the ranks that the request has ended; with more
  // than that the workers' time per step is not their time per request.
  overhead.measured = overhead.num_probes >= kStepWindow && result.steps <= 2 * ttft.size() + 2;
  overhead.ttft_p50 = Summarize(std::move(ttft)).p50 * 1e-3;
  overhead.worker_p50 = GetTimes(stub).worker_p50;
  return overhead;
}

std::string ConfigJson(const ServerFacts& facts) {
  nlohmann::json config;
  config["model"] = facts.model.served_model_name();
  config["model_type"] = facts.model.model_type();
  config["tensor_parallel_size"] = facts.server.tensor_parallel_size();
  config["dtype"] = facts.server.dtype();
  config["collective"] = facts.server.collective();
  config["backends"] = std::vector<std::string>(facts.server.backends().begin(), facts.server.backends().end());
  config["num_prompts"] = absl::GetFlag(FLAGS_num_prompts);
  config["concurrency"] = absl::GetFlag(FLAGS_concurrency);
  config["request_rate"] = absl::GetFlag(FLAGS_request_rate);
  config["lengths"] = absl::GetFlag(FLAGS_lengths);
  config["input_len"] = absl::GetFlag(FLAGS_input_len);
  config["output_len"] = absl::GetFlag(FLAGS_output_len);
  config["n"] = absl::GetFlag(FLAGS_n);
  config["beam_width"] = absl::GetFlag(FLAGS_beam_width);
  config["temperature"] = absl::GetFlag(FLAGS_temperature);
  config["seed"] = absl::GetFlag(FLAGS_seed);
  return config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The run in --rounds parts, the limits measured before, between and after them: on a shared machine they move.
RunResult RunInRounds(v1::Generator::Stub* stub, const RunOptions& run, std::vector<Ceilings>* measured) {
  RunResult all;
  const int64_t rounds = std::clamp<int64_t>(absl::GetFlag(FLAGS_rounds), 1, run.num_requests);
  measured->push_back(MeasureCeilings());
  for (int64_t round = 0; round < rounds; ++round) {
    RunOptions part = run;
    part.first_index = run.num_requests * round / rounds;
    part.num_requests = run.num_requests * (round + 1) / rounds - part.first_index;
    RunResult result = Run(stub, part);
    all.records.insert(all.records.end(), result.records.begin(), result.records.end());
    all.mean_used_tokens += result.mean_used_tokens / static_cast<double>(rounds);
    all.mean_running += result.mean_running / static_cast<double>(rounds);
    all.seconds += result.seconds;
    all.steps += result.steps;
    all.timed_out |= result.timed_out;
    measured->push_back(MeasureCeilings());
  }
  return all;
}

int Main() {
  auto stub =
      v1::Generator::NewStub(grpc::CreateChannel(absl::GetFlag(FLAGS_server), grpc::InsecureChannelCredentials()));
  ServerFacts facts;
  if (const grpc::Status status = GetFacts(stub.get(), &facts); !status.ok()) {
    std::cerr << "serve: no answer from " << absl::GetFlag(FLAGS_server) << ": " << status.error_message() << "\n";
    return kExitFailed;
  }
  RunOptions run = MakeRunOptions(facts);
  std::cerr << facts.model.served_model_name() << " (" << facts.model.model_type() << ", " << facts.server.dtype()
            << ") on " << facts.server.tensor_parallel_size()
            << " ranks: " << absl::StrJoin(facts.server.backends(), ", ") << "\n";
  if (const int64_t warmup = absl::GetFlag(FLAGS_warmup); warmup > 0) {
    RunOptions warm = run;
    warm.num_requests = warmup;
    warm.progress = false;
    warm.first_index = int64_t{2} << 40;
    Run(stub.get(), warm);
  }
  const Overhead overhead = MeasureOverhead(stub.get(), run);
  std::vector<Ceilings> measured;
  const RunResult result = RunInRounds(stub.get(), run, &measured);
  const ServerTimes times = GetTimes(stub.get());
  const Ceilings ceilings = Mean(measured);
  const ModelCost cost = CostOf(facts);
  const Report report = MakeReport(result, cost, ceilings, times);
  std::cout << FormatReport(report, ceilings, times, overhead) << std::flush;
  if (const std::string path = absl::GetFlag(FLAGS_json); !path.empty()) {
    std::ofstream file(path);
    file << ReportJson(report, result, cost, ceilings, times, overhead, ConfigJson(facts));
    file.close();
    if (!file) {
      std::cerr << "serve: cannot write " << path << "\n";
      return kExitFailed;
    }
  }
  return report.failed == 0 && !result.timed_out ? 0 : kExitFailed;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  absl::SetProgramUsageMessage("Measures a running server: rates, latencies, and its share of the machine's ceilings.");
  absl::ParseCommandLine(argc, argv);
  return quire::bench::Main();
}
