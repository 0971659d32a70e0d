// All-reduce between processes of this host, by size, beside the copy that it cannot do without: bazel run
// //worker/comm:comm_bench
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "worker/comm/communicator.h"
#include "worker/comm/test_store.h"

ABSL_FLAG(int, ranks, 2, "Processes of the group.");
ABSL_FLAG(std::string, collective, "shm", "shm or gloo.");
ABSL_FLAG(std::string, json, "", "File that receives the figures.");

namespace quire::worker {
namespace {

constexpr int64_t kSmallest = 512, kLargest = 256 << 10;  // elements: 2 KiB to 1 MiB

int Rounds(int64_t count) { return count <= 8192 ? 4000 : 800; }

double Median(std::vector<double>* v) {
  std::nth_element(v->begin(), v->begin() + v->size() / 2, v->end());
  return (*v)[v->size() / 2];
}

struct Row {
  int64_t bytes = 0;
  double median_us = 0, p99_us = 0, copy_us = 0;
};

// Every rank runs this; only the first keeps the figures.
std::vector<Row> Measure(Communicator* comm) {
  std::vector<Row> rows;
  for (int64_t count = kSmallest; count <= kLargest; count *= 2) {
    std::vector<float> data(count, 1.0f), copy(count);
    std::vector<double> times, copies;
    for (int i = 0; i < Rounds(count); ++i) {
      const int64_t start = absl::GetCurrentTimeNanos();
      if (!comm->AllReduceSum(data.data(), count).ok()) exit(1);
      times.push_back((absl::GetCurrentTimeNanos() - start) * 1e-3);
      if (i % 16 == 0) std::fill(data.begin(), data.end(), 1.0f);
    }
    for (int i = 0; i < 200; ++i) {
      const int64_t start = absl::GetCurrentTimeNanos();
      std::memcpy(copy.data(), data.data(), count * sizeof(float));
      asm volatile("" : : "r"(copy.data()) : "memory");
      copies.push_back((absl::GetCurrentTimeNanos() - start) * 1e-3);
    }
    Row row = {count * 4, Median(&times), 0, Median(&copies)};
    std::sort(times.begin(), times.end());
    row.p99_us = times[times.size() * 99 / 100];
    rows.push_back(row);
  }
  return rows;
}

int RunRank(int rank, const std::string& directory) {
  DirectoryStore store(directory);
  CommunicatorOptions options;
  options.kind = absl::GetFlag(FLAGS_collective);
  options.rank = rank;
  options.world_size = absl::GetFlag(FLAGS_ranks);
  options.name = "bench";
  options.listen_host = "127.0.0.1";
  auto comm = CreateCommunicator(options, &store);
  if (!comm.ok()) {
    fprintf(stderr, "%s\n", comm.status().ToString().c_str());
    return 1;
  }
  const std::vector<Row> rows = Measure(comm->get());
  if (rank != 0) return 0;
  std::string json = "[";
  printf("%10s %12s %12s %12s\n", "bytes", "median us", "p99 us", "memcpy us");
  for (const Row& r : rows) {
    printf("%10ld %12.1f %12.1f %12.1f\n", static_cast<long>(r.bytes), r.median_us, r.p99_us, r.copy_us);
    absl::StrAppendFormat(&json,
                          "%s\n {\"name\": \"all_reduce/%s/%d\", \"bytes\": %d, \"median_us\": %.2f, \"p99_us\": %.2f, "
                          "\"memcpy_us\": %.2f}",
                          json.size() == 1 ? "" : ",", options.kind, options.world_size, r.bytes, r.median_us, r.p99_us,
                          r.copy_us);
  }
  const std::string file = absl::GetFlag(FLAGS_json);
  if (!file.empty()) std::ofstream(file) << json << "\n]\n";
  return 0;
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  absl::ParseCommandLine(argc, argv);
  char directory[] = "/tmp/quire-comm-XXXXXX";
  if (mkdtemp(directory) == nullptr) return 1;
  std::vector<pid_t> others;
  for (int rank = 1; rank < absl::GetFlag(FLAGS_ranks); ++rank) {
    const pid_t pid = fork();
    if (pid == 0) _exit(RunRank(rank, directory));
    others.push_back(pid);
  }
  const int code = RunRank(0, directory);
  for (const pid_t pid : others) waitpid(pid, nullptr, 0);
  return code;
}

}  // namespace
}  // namespace quire::worker

int main(int argc, char** argv) { return quire::worker::Main(argc, argv); }
