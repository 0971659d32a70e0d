// Children by stand-in scripts: arguments, exits, signals, and that nothing is left behind (L1, L2).
#include "coordinator/cluster/local_workers.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace quire::cluster {
namespace {

std::string Path(const std::string& name) { return absl::StrCat(testing::TempDir(), "/", name); }

// A script in place of the worker binary.
std::string Script(const std::string& name, const std::string& body) {
  const std::string path = Path(name);
  std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
  chmod(path.c_str(), 0700);
  return path;
}

std::string ReadWhenThere(const std::string& path) {
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (absl::Now() < limit) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    if (absl::EndsWith(text.str(), "\n")) return text.str();
    absl::SleepFor(absl::Milliseconds(5));
  }
  return "";
}

LocalWorkerOptions Options(const std::string& binary, int num_workers) {
  LocalWorkerOptions options;
  options.binary = binary;
  options.num_workers = num_workers;
  options.num_threads = 3;
  return options;
}

TEST(LocalWorkersTest, StartsEachRankWithItsOwnPrivateSocket) {
  const std::string script = Script("args.sh", R"(echo "$@" > "$0.$$"; exec sleep 100)");
  LocalWorkerOptions options = Options(script, 2);
  options.extra_args = {"--more=1"};
  auto workers = LocalWorkers::Start(options, [](const LocalWorkers::Exit&) {});
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_EQ((*workers)->addresses().size(), 2u);
  std::string directory((*workers)->addresses()[0]);
  directory = directory.substr(5, directory.rfind('/') - 5);
  struct stat info;
  ASSERT_EQ(stat(directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (int rank = 0; rank < 2; ++rank) {
    const pid_t pid = (*workers)->pid(rank);
    EXPECT_EQ(
        ReadWhenThere(absl::StrCat(script, ".", pid)),
        absl::StrCat("--listen=", (*workers)->addresses()[rank], " --num_threads=3 --die_with_parent --more=1\n"));
    EXPECT_EQ(getpgid(pid), pid) << "Ctrl-C must not reach the child";
  }
  std::ofstream(absl::StrCat(directory, "/rank1.sock")) << "left behind";
  const pid_t pids[] = {(*workers)->pid(0), (*workers)->pid(1)};
  (*workers)->Stop(absl::ZeroDuration());
  for (const pid_t pid : pids) EXPECT_EQ(kill(pid, 0), -1) << "a zombie or a running child is left";
  EXPECT_NE(stat(directory.c_str(), &info), 0) << directory << " is left";
}

TEST(LocalWorkersTest, EachRankGetsAGpuOfItsOwn) {
  const struct {
    const char* device;
    const char* expected;  // of rank 1
  } cases[] = {{"cpu", ""}, {"auto", " --device=auto"}, {"cuda", " --device=cuda:1"}};
  for (const auto& c : cases) {
    const std::string script = Script("args.sh", R"(echo "$@" > "$0.$$"; exec sleep 100)");
    LocalWorkerOptions options = Options(script, 2);
    options.device = c.device;
    auto workers = LocalWorkers::Start(options, [](const LocalWorkers::Exit&) {});
    ASSERT_TRUE(workers.ok()) << workers.status();
    EXPECT_EQ(
        ReadWhenThere(absl::StrCat(script, ".", (*workers)->pid(1))),
        absl::StrCat("--listen=", (*workers)->addresses()[1], " --num_threads=3 --die_with_parent", c.expected, "\n"));
    (*workers)->Stop(absl::ZeroDuration());
  }
}

TEST(LocalWorkersTest, SocketsCanGoEarly) {
  auto workers =
      LocalWorkers::Start(Options(Script("waits.sh", "exec sleep 100"), 1), [](const LocalWorkers::Exit&) {});
  ASSERT_TRUE(workers.ok()) << workers.status();
  const std::string socket = (*workers)->addresses()[0].substr(5);
  const std::string directory = socket.substr(0, socket.rfind('/'));
  std::ofstream(socket) << "x";
  (*workers)->RemoveSockets();
  EXPECT_NE(access(directory.c_str(), F_OK), 0);
  (*workers)->Stop(absl::ZeroDuration());
}

TEST(LocalWorkersTest, TellsHowAChildEnded) {
  const struct {
    const char* body;
    const char* how;
  } cases[] = {{"exit 3", "exited with code 3"}, {"kill -9 $$", "was ended by signal 9 (Killed)"}};
  for (const auto& c : cases) {
    absl::Mutex mu;
    std::vector<LocalWorkers::Exit> exits;
    auto workers = LocalWorkers::Start(Options(Script("ends.sh", c.body), 1), [&](const LocalWorkers::Exit& exit) {
      absl::MutexLock lock(&mu);
      exits.push_back(exit);
    });
    ASSERT_TRUE(workers.ok()) << workers.status();
    const std::optional<LocalWorkers::Exit> exit = (*workers)->FirstExit(absl::Seconds(20));
    ASSERT_TRUE(exit);
    EXPECT_EQ(exit->rank, 0);
    EXPECT_EQ(exit->how.message(), absl::StrCat("worker pid ", (*workers)->pid(0), " ", c.how));
    (*workers)->Stop(absl::ZeroDuration());
    ASSERT_EQ(exits.size(), 1u);
    EXPECT_EQ(exits[0].how, exit->how);
  }
}

TEST(LocalWorkersTest, StopIsPoliteAndThenFirm) {
  const std::string polite = Script("polite.sh", R"(trap 'echo bye > "$0.bye"; exit 0' TERM
echo ready > "$0.ready"; while true; do sleep 0.01; done)");
  auto workers =
      LocalWorkers::Start(Options(polite, 1), [](const LocalWorkers::Exit&) { FAIL() << "Stop is no exit"; });
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_EQ(ReadWhenThere(polite + ".ready"), "ready\n");
  (*workers)->Stop(absl::Seconds(20));
  EXPECT_EQ(ReadWhenThere(polite + ".bye"), "bye\n");

  const std::string stubborn = Script("stubborn.sh", R"(trap '' TERM
echo ready > "$0.ready"; while true; do sleep 0.01; done)");
  workers = LocalWorkers::Start(Options(stubborn, 1), [](const LocalWorkers::Exit&) { FAIL() << "Stop is no exit"; });
  ASSERT_TRUE(workers.ok()) << workers.status();
  ASSERT_EQ(ReadWhenThere(stubborn + ".ready"), "ready\n");
  const pid_t pid = (*workers)->pid(0);
  (*workers)->Stop(absl::Milliseconds(50));
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(LocalWorkersTest, MissingBinaryIsNamed) {
  const auto workers = LocalWorkers::Start(Options("/nowhere/worker", 1), [](const LocalWorkers::Exit&) {});
  EXPECT_EQ(workers.status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(workers.status().message(), "/nowhere/worker")) << workers.status();
  const auto not_a_program = LocalWorkers::Start(Options(Script("empty", "").append("x"), 1), [](const auto&) {});
  EXPECT_FALSE(not_a_program.ok());
}

}  // namespace
}  // namespace quire::cluster
