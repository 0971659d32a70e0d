// Times every operation of a backend beside what the machine can do: the limits are measured first, in the same run.
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "tools/bench/ops_cases.h"
#include "tools/bench/ops_ceilings.h"
#include "tools/bench/ops_check.h"

ABSL_FLAG(int, threads, 0, "threads of the backend; 0 = one per core");
ABSL_FLAG(std::string, isa, "", "instruction set: avx512, avx2 or baseline; empty = the best of this machine");
ABSL_FLAG(std::string, dtype, "bfloat16", "stored type of weights and cache: float32, float16 or bfloat16");
ABSL_FLAG(std::string, filter, "", "comma-separated parts of names; only cases with one of them run, e.g. 1B,attend");
ABSL_FLAG(double, seconds, 0.5, "how long each case and each limit is measured");
ABSL_FLAG(bool, check, true, "first compare each op with the reference on small shapes");
ABSL_FLAG(bool, list, false, "print the names of the cases and stop");
ABSL_FLAG(bool, thread_time, false, "count this thread's processor time instead of wall time; needs --threads=1");
ABSL_FLAG(std::string, json, "", "also write all figures to this file");

namespace quire::bench {
namespace {

constexpr char kUsage[] =
    R"(Times every operation of the CPU backend at the shapes of a 135M and a 1B model.

The limits come first, measured in the same run: memory read bandwidth (the best of a few patterns on every thread) and
the f32 multiply-add rate. Each case then shows its time, its rates and its share of the limit that binds it, that is
the time the limit alone would take over the time measured. On a shared machine compare shares, not times.

  bazel run //tools/bench:ops                             every case, about a minute and a half
  bazel run //tools/bench:ops -- --filter=matmul/1B       one group
  bazel run //tools/bench:ops -- --threads=1 --isa=avx2   other kernels
  bazel run //tools/bench:ops -- --threads=1 --thread_time   on a machine that others use too
  bazel run //tools/bench:ops -- --json=ops.json          figures for a program)";

struct Limits {
  double read = 0;  // bytes/s
  double fma = 0;   // flop/s
};

struct Figure {
  double median_s = 0;
  double best_s = 0;
  int64_t calls = 0;
};

Figure Measure(const std::function<void()>& call, Clock clock, double seconds) {
  call();  // warm: scratch is allocated, threads are awake
  std::vector<double> times;
  const absl::Time end = absl::Now() + absl::Seconds(seconds);
  do {
    const int64_t begin = ClockNanos(clock);
    call();
    times.push_back(static_cast<double>(ClockNanos(clock) - begin) * 1e-9);
  } while (absl::Now() < end || times.size() < 3);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times[0], static_cast<int64_t>(times.size())};
}

bool Matches(const std::string& name, const std::string& filter) {
  if (filter.empty()) return true;
  for (absl::string_view part : absl::StrSplit(filter, ',')) {
    if (absl::StrContains(name, part)) return true;
  }
  return false;
}

std::string TimeText(double seconds) {
  if (seconds < 1e-3) return absl::StrFormat("%8.1f us", seconds * 1e6);
  return absl::StrFormat("%8.2f ms", seconds * 1e3);
}

// A line that the next one overwrites; nothing when the output is not a terminal.
void Progress(const std::string& text) {
  if (isatty(STDERR_FILENO)) std::cerr << "\r\033[K" << text << std::flush;
}

// What the flags ask for, checked.
struct Settings {
  kernels::CpuBackendOptions options;
  kernels::DType stored = kernels::DType::kBF16;
  Clock clock = Clock::kWall;
  double seconds = 0.5;
  std::vector<OpCase> cases;
};

// Errors: INVALID_ARGUMENT that names the flag.
absl::StatusOr<Settings> ReadFlags() {
  Settings s;
  s.options.num_threads = absl::GetFlag(FLAGS_threads);
  if (s.options.num_threads == 0)
    s.options.num_threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  s.options.isa = absl::GetFlag(FLAGS_isa);
  s.stored = kernels::DType::kI32;
  for (kernels::DType d : {kernels::DType::kF32, kernels::DType::kF16, kernels::DType::kBF16}) {
    if (absl::GetFlag(FLAGS_dtype) == kernels::DTypeName(d)) s.stored = d;
  }
  if (s.stored == kernels::DType::kI32) {
    return absl::InvalidArgumentError(
        absl::StrCat("--dtype is '", absl::GetFlag(FLAGS_dtype), "', must be float32, float16 or bfloat16"));
  }
  s.seconds = absl::GetFlag(FLAGS_seconds);
  if (!(s.seconds > 0 && s.seconds <= 600)) {
    return absl::InvalidArgumentError(absl::StrCat("--seconds is ", s.seconds, ", must be in (0, 600]"));
  }
  if (absl::GetFlag(FLAGS_thread_time)) s.clock = Clock::kThread;
  if (s.clock == Clock::kThread && s.options.num_threads != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--thread_time needs --threads=1, there are ", s.options.num_threads));
  }
  for (OpCase& op : AllOpCases(s.stored)) {
    if (Matches(op.name, absl::GetFlag(FLAGS_filter))) s.cases.push_back(std::move(op));
  }
  if (s.cases.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no case matches --filter=", absl::GetFlag(FLAGS_filter), "; --list shows all"));
  }
  return s;
}

Limits MeasureLimits(const Settings& s, const std::string& backend_name, nlohmann::json* report) {
  const std::string isa = s.options.isa.empty() ? kernels::CpuIsas()[0] : s.options.isa;
  Limits limits;
  Progress("measuring memory bandwidth");
  const Rate read = MeasureReadBytesPerSecond(s.options.num_threads, s.clock, absl::Seconds(std::max(1.0, s.seconds)));
  limits.read = read.median;
  Progress("");
  std::printf("%s, %d threads, %s weights\nmemory read  %8.1f GB/s  (best pass %.1f)\n", backend_name.c_str(),
              s.options.num_threads, kernels::DTypeName(s.stored), read.median * 1e-9, read.best * 1e-9);
  for (const std::string& one : kernels::CpuIsas()) {
    const double rate =
        MeasureFmaFlopsPerSecond(s.options.num_threads, one, s.clock, absl::Seconds(std::min(s.seconds, 0.5))).median;
    std::printf("f32 FMA      %8.1f GFLOP/s  %s\n", rate * 1e-9, one.c_str());
    (*report)["limits"]["fma_flops_per_s"][one] = rate;
    if (one == isa) limits.fma = rate;
  }
  (*report)["limits"]["read_bytes_per_s"] = read.median;
  (*report)["limits"]["read_bytes_per_s_best"] = read.best;
  (*report)["backend"] = backend_name;
  (*report)["threads"] = s.options.num_threads;
  (*report)["dtype"] = kernels::DTypeName(s.stored);
  return limits;
}

// Prints a case's line and returns its figures.
nlohmann::json Report(const OpCase& op, const Figure& f, const Limits& limits) {
  const double read_s = op.bytes / limits.read;
  const double fma_s = op.flops / limits.fma;
  const double share = std::max(read_s, fma_s) / f.median_s;
  const char* limit = read_s >= fma_s ? "memory" : "FMA";
  std::printf("%-40s %s %s %9.1f %9.1f %6.0f%%  %s\n", op.name.c_str(), TimeText(f.median_s).c_str(),
              TimeText(f.best_s).c_str(), op.bytes / f.median_s * 1e-9, op.flops / f.median_s * 1e-9, share * 100,
              limit);
  std::fflush(stdout);
  return {{"name", op.name},   {"median_s", f.median_s}, {"best_s", f.best_s},      {"calls", f.calls},
          {"bytes", op.bytes}, {"flops", op.flops},      {"share_of_limit", share}, {"limit", limit}};
}

int Run() {
  const absl::StatusOr<Settings> settings = ReadFlags();
  if (!settings.ok()) {
    std::cerr << settings.status().message() << "\n";
    return 2;
  }
  if (absl::GetFlag(FLAGS_list)) {
    for (const OpCase& op : settings->cases) std::cout << op.name << "\n";
    return 0;
  }
  auto backend = kernels::CreateCpuBackend(settings->options);
  if (!backend.ok()) {
    std::cerr << backend.status().message() << "\n";
    return 2;
  }
  if (absl::GetFlag(FLAGS_check)) {
    Progress("comparing with the reference");
    const std::string wrong = CheckAgainstReference(backend->get());
    Progress("");
    if (!wrong.empty()) {
      std::cerr << "differs from the reference: " << wrong << "\n";
      return 1;
    }
  }
  nlohmann::json report;
  const Limits limits = MeasureLimits(*settings, (*backend)->Name(), &report);
  std::printf("\n%-40s %11s %11s %9s %9s %7s  %s\n", "case", "median", "best", "GB/s", "GFLOP/s", "share", "limit");
  for (size_t i = 0; i < settings->cases.size(); ++i) {
    const OpCase& op = settings->cases[i];
    Progress(absl::StrCat("[", i + 1, "/", settings->cases.size(), "] ", op.name));
    const Figure figure = Measure(op.prepare(backend->get()), settings->clock, settings->seconds);
    Progress("");
    report["cases"].push_back(Report(op, figure, limits));
  }
  const std::string path = absl::GetFlag(FLAGS_json);
  if (path.empty()) return 0;
  std::ofstream file(path);
  file << report.dump(1) << "\n";
  file.close();
  if (!file) {
    std::cerr << "cannot write --json=" << path << "\n";
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  absl::SetProgramUsageMessage(quire::bench::kUsage);
  absl::ParseCommandLine(argc, argv);
  return quire::bench::Run();
}
