// Every communicator between real processes: sums in one tree with equal bits, gathers, deaths, aborts.
#include "worker/comm/communicator.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "worker/comm/test_store.h"

namespace quire::worker {
namespace {

// Value of element i of rank r: magnitudes differ so much that another order of addition gives other bits.
float Input(int rank, int64_t i, int round) {
  const uint64_t x = (static_cast<uint64_t>(i) * 2654435761u + rank * 40503u + round * 97u) % 1000003u;
  const float scale[] = {1e-3f, 1.0f, 1e4f, 1e-1f};
  return (static_cast<float>(x) / 500000.0f - 1.0f) * scale[(x + rank) % 4];
}

std::string TempDir() {
  std::string path = absl::StrCat(testing::TempDir(), "/commXXXXXX");
  return mkdtemp(path.data());
}

CommunicatorOptions Options(const std::string& kind, int rank, int world_size) {
  CommunicatorOptions options;
  options.kind = kind;
  options.rank = rank;
  options.world_size = world_size;
  options.name = "t";
  options.listen_host = "127.0.0.1";
  options.timeout = absl::Seconds(20);
  return options;
}

// Starts one process per rank; `body` returns the exit code. Returns the process ids.
std::vector<pid_t> Fork(int world_size, const std::function<int(int rank)>& body) {
  std::vector<pid_t> pids;
  for (int r = 0; r < world_size; ++r) {
    const pid_t pid = fork();
    if (pid == 0) {
      signal(SIGPIPE, SIG_IGN);
      alarm(120);
      _exit(body(r));
    }
    pids.push_back(pid);
  }
  return pids;
}

int Wait(pid_t pid) {
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

class CommunicatorTest : public testing::TestWithParam<std::string> {};

// The tree of C2 over ranks [begin, begin + n), by its definition.
float TreeSum(int begin, int n, int64_t i, int round) {
  if (n == 1) return Input(begin, i, round);
  int half = 1;
  while (2 * half < n) half *= 2;
  return TreeSum(begin, half, i, round) + TreeSum(begin + half, n - half, i, round);
}

// Exit code: 0 = all good, otherwise which check failed.
int CheckCollectives(Communicator* comm) {
  const int rank = comm->rank(), world_size = comm->world_size();
  int round = 0;
  for (int64_t count : {1, 2, 17, 255, 4096, 8192, 8193, 65536, 70001, 1000000, 1, 3}) {
    ++round;
    std::vector<float> data(count), gathered(count * world_size);
    for (int64_t i = 0; i < count; ++i) data[i] = Input(rank, i, round);
    // In place on odd rounds: `in` lies in `out` at its own place.
    const float* in = data.data();
    if (round % 2 == 1) {
      std::copy(data.begin(), data.end(), gathered.begin() + rank * count);
      in = gathered.data() + rank * count;
    }
    if (!comm->AllGather(in, gathered.data(), count).ok()) return 1;
    if (!comm->AllReduceSum(data.data(), count).ok()) return 2;
    for (int64_t i = 0; i < count; ++i) {
      const float sum = TreeSum(0, world_size, i, round);
      if (std::memcmp(&sum, &data[i], sizeof(sum)) != 0) return 3;
      for (int r = 0; r < world_size; ++r) {
        if (gathered[r * count + i] != Input(r, i, round)) return 4;
      }
    }
  }
  return 0;
}

TEST_P(CommunicatorTest, SumsInOneTreeOnEveryRank) {
  for (int world_size : {1, 2, 3, 4, 7}) {
    const std::string dir = TempDir();
    const auto pids = Fork(world_size, [&](int rank) {
      DirectoryStore store(dir);
      auto comm = CreateCommunicator(Options(GetParam(), rank, world_size), &store);
      if (!comm.ok()) {
        fprintf(stderr, "rank %d: %s\n", rank, comm.status().ToString().c_str());
        return 9;
      }
      return CheckCollectives(comm->get());
    });
    for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0) << "world_size " << world_size;
  }
}

TEST_P(CommunicatorTest, OrderMattersForTheseInputs) {
  // Without this the test above could not tell one order from another.
  int differ = 0;
  for (int64_t i = 0; i < 4096; ++i) {
    const float a = Input(0, i, 1), b = Input(1, i, 1), c = Input(2, i, 1);
    differ += (a + b) + c != a + (b + c);
  }
  EXPECT_GT(differ, 100);
}

// The survivors' exit codes: 0 = UNAVAILABLE within the limit.
int ExpectUnavailable(Communicator* comm, bool any_rank, int dead) {
  std::vector<float> data(5000, 1.0f);
  absl::Status status;
  const absl::Time start = absl::Now();
  while (status.ok() && absl::Now() - start < absl::Seconds(60)) {
    status = comm->AllReduceSum(data.data(), static_cast<int64_t>(data.size()));
    std::fill(data.begin(), data.end(), 1.0f);
  }
  if (!absl::IsUnavailable(status)) {
    fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  if (!any_rank && status.message().find(absl::StrCat("rank ", dead)) == absl::string_view::npos) return 2;
  if (comm->AllReduceSum(data.data(), 1).ok()) return 3;  // C3
  return 0;
}

TEST_P(CommunicatorTest, KilledRankGivesTheOthersAnError) {
  for (int world_size : {2, 4}) {
    const std::string dir = TempDir();
    const int dead = world_size - 1;
    const auto pids = Fork(world_size, [&](int rank) {
      DirectoryStore store(dir);
      auto comm = CreateCommunicator(Options(GetParam(), rank, world_size), &store);
      if (!comm.ok()) return 9;
      if (rank == dead) {
        std::vector<float> data(5000, 1.0f);
        for (int i = 0; i < 50; ++i) (void)(*comm)->AllReduceSum(data.data(), 5000);
        raise(SIGKILL);
      }
      // Gloo's survivors may meet each other's closed connections first.
      return ExpectUnavailable(comm->get(), GetParam() == "gloo" && world_size > 2, dead);
    });
    // The dead one is not reaped before the others noticed: a zombie counts as dead.
    for (int r = 0; r < world_size; ++r) {
      if (r == dead) continue;
      EXPECT_EQ(Wait(pids[r]), 0) << "rank " << r << " of " << world_size;
    }
    EXPECT_EQ(Wait(pids[dead]), 1000 + SIGKILL);
  }
}

TEST_P(CommunicatorTest, HungRankShowsByTimeout) {
  const std::string dir = TempDir();
  const auto pids = Fork(2, [&](int rank) {
    DirectoryStore store(dir);
    CommunicatorOptions options = Options(GetParam(), rank, 2);
    auto formed = CreateCommunicator(options, &store);
    if (!formed.ok()) return 9;
    formed->reset();
    options.name = "short";
    options.timeout = absl::Milliseconds(800);
    auto comm = CreateCommunicator(options, &store);
    if (!comm.ok()) return 10;
    if (rank == 1) absl::SleepFor(absl::Seconds(3));
    return rank == 1 ? 0 : ExpectUnavailable(comm->get(), false, 1);
  });
  for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
}

TEST_P(CommunicatorTest, AbortReturnsWithinMilliseconds) {
  const std::string dir = TempDir();
  const auto pids = Fork(2, [&](int rank) {
    DirectoryStore store(dir);
    auto comm = CreateCommunicator(Options(GetParam(), rank, 2), &store);
    if (!comm.ok()) return 9;
    if (rank == 1) {  // never calls
      absl::SleepFor(absl::Milliseconds(1500));
      return 0;
    }
    absl::Time aborted;
    std::thread other([&] {
      absl::SleepFor(absl::Milliseconds(100));
      aborted = absl::Now();
      (*comm)->Abort();
    });
    float value = 1;
    const absl::Status status = (*comm)->AllReduceSum(&value, 1);
    const absl::Duration took = absl::Now() - aborted;
    other.join();
    if (!absl::IsCancelled(status)) return 1;
    if (!absl::IsCancelled((*comm)->AllReduceSum(&value, 1))) return 2;
    return took < absl::Milliseconds(500) ? 0 : 3;  // not the peer's leaving (1.4 s) and not the timeout (20 s)
  });
  for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
}

TEST_P(CommunicatorTest, MissingRanksAreNamed) {
  DirectoryStore store(TempDir());
  CommunicatorOptions options = Options(GetParam(), 0, 4);
  options.timeout = absl::Milliseconds(50);
  const auto comm = CreateCommunicator(options, &store);
  EXPECT_TRUE(absl::IsDeadlineExceeded(comm.status())) << comm.status();
  EXPECT_NE(comm.status().message().find("1, 2, 3"), absl::string_view::npos) << comm.status();
}

INSTANTIATE_TEST_SUITE_P(All, CommunicatorTest, testing::Values("shm", "gloo"),
                         [](const testing::TestParamInfo<std::string>& info) { return info.param; });

TEST(ShmTest, RanksMayBeThreads) {
  const std::string dir = TempDir();
  std::vector<int> codes(3, -1);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      DirectoryStore store(dir);
      auto comm = CreateCommunicator(Options("shm", rank, 3), &store);
      codes[rank] = comm.ok() ? CheckCollectives(comm->get()) : 9;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(codes, std::vector<int>({0, 0, 0}));
}

TEST(ShmTest, NoNameIsLeft) {
  // What a killed rank left a minute ago is taken away; what is young, or held by a rank that still forms, stays.
  const std::string old = "/quire-test-old", held = "/quire-test-held", young = "/quire-test-young";
  std::vector<int> fds;
  for (const std::string& name : {old, held, young}) {
    fds.push_back(shm_open(name.c_str(), O_CREAT | O_RDWR, 0600));
    ASSERT_GE(fds.back(), 0) << name;
  }
  ASSERT_EQ(flock(fds[1], LOCK_SH), 0);
  const timespec past[2] = {{time(nullptr) - 3600, 0}, {time(nullptr) - 3600, 0}};
  ASSERT_EQ(futimens(fds[0], past), 0);
  ASSERT_EQ(futimens(fds[1], past), 0);
  const auto exists = [](const std::string& name) { return access(("/dev/shm" + name).c_str(), F_OK) == 0; };
  const std::string dir = TempDir();
  const auto pids = Fork(2, [&](int rank) {
    DirectoryStore store(dir);
    auto comm = CreateCommunicator(Options("shm", rank, 2), &store);
    return comm.ok() ? CheckCollectives(comm->get()) : 9;
  });
  for (pid_t pid : pids) EXPECT_EQ(Wait(pid), 0);
  EXPECT_FALSE(exists(old));
  EXPECT_TRUE(exists(held));
  EXPECT_TRUE(exists(young));
  for (const std::string& name : {old, held, young}) shm_unlink(name.c_str());
}

TEST(FactoryTest, RefusesByName) {
  DirectoryStore store(TempDir());
  EXPECT_TRUE(absl::IsInvalidArgument(CreateCommunicator(Options("mpi", 0, 1), &store).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CreateCommunicator(Options("single", 0, 2), &store).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(CreateCommunicator(Options("shm", 2, 2), &store).status()));
  EXPECT_STREQ((*CreateCommunicator(Options("gloo", 0, 1), &store))->Name(), "single");
  CommunicatorOptions options = Options("gloo", 0, 2);
  options.listen_host = "no.such.host.invalid";
  options.timeout = absl::Milliseconds(50);
  EXPECT_TRUE(absl::IsInvalidArgument(CreateCommunicator(options, &store).status()));
}

}  // namespace
}  // namespace quire::worker
