// One child per defect. See planted_gate.h.
#include "coordinator/engine/testing/planted_gate.h"

#include <glog/logging.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "coordinator/engine/simulation.h"

namespace quire::engine {
namespace {

// A plain death: no dump, no stack trace (which would take longer than the search).
[[noreturn]] void Die() { _exit(3); }

[[noreturn]] void RunChild(Defect defect, uint64_t first_seed, absl::Duration limit, int err, uint64_t* seeds) {
  dup2(err, STDERR_FILENO);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (int sig : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS}) signal(sig, SIG_DFL);
  alarm(static_cast<unsigned int>(absl::ToInt64Seconds(limit) + 10));  // a seed that never ends
  FLAGS_logtostderr = true;
  google::InstallFailureFunction(&Die);
  g_defect = defect;
  const absl::Time end = absl::Now() + limit;
  for (uint64_t seed = first_seed; absl::Now() < end; ++seed) {
    ++*seeds;
    RunSimulation(seed);
  }
  _exit(0);
}

std::string LastLine(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  // The check itself, without glog's prefix; else whatever came last.
  for (const std::string& line : lines) {
    const size_t at = line.find("Check failed:");
    if (at != std::string::npos) return line.substr(at);
  }
  return lines.empty() ? "" : lines.back();
}

}  // namespace

Catch CatchDefect(Defect defect, uint64_t first_seed, absl::Duration limit) {
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  auto* seeds = static_cast<uint64_t*>(
      mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  CHECK(seeds != MAP_FAILED);
  const absl::Time start = absl::Now();
  const pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) RunChild(defect, first_seed, limit, pipes[1], seeds);
  close(pipes[1]);
  std::string err;
  char buffer[4096];
  for (ssize_t n = 0; (n = read(pipes[0], buffer, sizeof(buffer))) > 0;) {
    if (err.size() < (1 << 20)) err.append(buffer, static_cast<size_t>(n));
  }
  close(pipes[0]);
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  Catch result;
  result.caught = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  result.seeds = *seeds;
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  result.evidence = LastLine(err);
  if (WIFSIGNALED(status)) result.evidence += " (signal " + std::to_string(WTERMSIG(status)) + ")";
  munmap(seeds, sizeof(uint64_t));
  return result;
}

}  // namespace quire::engine
