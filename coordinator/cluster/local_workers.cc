// How children are started, watched and ended: see the header for what it promises.
#include "coordinator/cluster/local_workers.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire::cluster {
namespace {

// SIGKILL cannot be ignored; a child that is still there after this is stuck in the kernel.
constexpr absl::Duration kKillWait = absl::Seconds(5);

std::string DirectoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

std::string ExecutablePath() {
  char buffer[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", buffer, sizeof(buffer));
  return size > 0 ? std::string(buffer, static_cast<size_t>(size)) : std::string();
}

// A fresh directory that only this user can enter, short enough for a socket's name.
absl::StatusOr<std::string> MakePrivateDirectory() {
  const char* base = getenv("TMPDIR");
  const size_t longest = sizeof(sockaddr_un::sun_path) - sizeof("/quire-XXXXXX/rank00.sock");
  if (base == nullptr || base[0] != '/' || strlen(base) > longest) base = "/tmp";
  std::string path = absl::StrCat(base, "/quire-XXXXXX");
  if (mkdtemp(path.data()) == nullptr) {
    return absl::InternalError(
        absl::StrCat("cannot make a directory for the workers' sockets (", path, "): ", strerror(errno)));
  }
  return path;
}

std::string DescribeExit(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return absl::StrCat("exited with code ", info.si_status);
  return absl::StrCat("was ended by signal ", info.si_status, " (", strsignal(info.si_status), ")");
}

int NumCores() {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof(cores), &cores) == 0) return CPU_COUNT(&cores);
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace

absl::StatusOr<std::string> FindWorkerBinary() {
  const std::string self = ExecutablePath();
  const std::string directory = DirectoryOf(self);
  std::vector<std::string> places = {
      absl::StrCat(directory, "/../worker/worker"),
      absl::StrCat(self, ".runfiles/quire/worker/worker"),
      absl::StrCat(directory, "/quire-worker"),
  };
  if (const char* runfiles = getenv("RUNFILES_DIR")) places.push_back(absl::StrCat(runfiles, "/quire/worker/worker"));
  for (const std::string& place : places) {
    if (access(place.c_str(), X_OK) == 0) return place;
  }
  return absl::NotFoundError(
      absl::StrCat("no worker binary; tried ", absl::StrJoin(places, ", "), "; name one with --worker_binary"));
}

absl::StatusOr<std::unique_ptr<LocalWorkers>> LocalWorkers::Start(const LocalWorkerOptions& options, OnExit on_exit) {
  std::string binary = options.binary;
  if (binary.empty()) {
    absl::StatusOr<std::string> found = FindWorkerBinary();
    if (!found.ok()) return found.status();
    binary = *std::move(found);
  } else if (access(binary.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat("worker binary ", binary, ": ", strerror(errno)));
  }
  absl::StatusOr<std::string> directory = MakePrivateDirectory();
  if (!directory.ok()) return directory.status();
  std::unique_ptr<LocalWorkers> workers(new LocalWorkers(std::move(on_exit)));
  workers->directory_ = *std::move(directory);
  for (int rank = 0; rank < options.num_workers; ++rank) {
    workers->addresses_.push_back(absl::StrCat("unix:", workers->directory_, "/rank", rank, ".sock"));
    const absl::Status status = workers->Spawn(options, binary, rank);
    if (!status.ok()) return status;
  }
  return workers;
}

absl::Status LocalWorkers::Spawn(const LocalWorkerOptions& options, const std::string& binary, int rank) {
  const int sharers = std::max(options.num_workers, options.num_on_host);
  const int num_threads = options.num_threads > 0 ? options.num_threads : std::max(1, NumCores() / sharers);
  std::vector<std::string> args = {binary, absl::StrCat("--listen=", addresses_[rank]),
                                   absl::StrCat("--num_threads=", num_threads), "--die_with_parent"};
  if (options.device == "cuda") {
    args.push_back(absl::StrCat("--device=cuda:", rank));
  } else if (!options.device.empty() && options.device != "cpu") {
    args.push_back(absl::StrCat("--device=", options.device));
  }
  args.insert(args.end(), options.extra_args.begin(), options.extra_args.end());
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // Our listening sockets and streams are not the child's to keep open.
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A group of its own: Ctrl-C reaches the coordinator only, which lets running requests finish first.
  posix_spawnattr_setpgroup(&attributes, 0);
  sigset_t no_signals;
  sigemptyset(&no_signals);
  posix_spawnattr_setsigmask(&attributes, &no_signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, binary.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) {
    return absl::InternalError(absl::StrCat("cannot start worker ", binary, " for rank ", rank, ": ", strerror(error)));
  }
  LOG(INFO) << options.log_prefix << "rank " << rank << ": started worker pid " << pid << " with " << num_threads
            << " thread(s)";
  children_.push_back(std::make_unique<Child>());
  Child* child = children_.back().get();
  child->pid = pid;
  child->watcher = std::thread([this, rank, child] { Watch(rank, child); });
  return absl::OkStatus();
}

void LocalWorkers::Watch(int rank, Child* child) {
  siginfo_t info = {};
  // WNOWAIT: the number stays the child's until it is reaped under the lock (L3).
  while (waitid(P_PID, static_cast<id_t>(child->pid), &info, WEXITED | WNOWAIT) != 0) {
    PCHECK(errno == EINTR) << "waitid of worker pid " << child->pid;
  }
  const Exit exit = {rank, absl::UnavailableError(absl::StrCat("worker pid ", child->pid, " ", DescribeExit(info)))};
  bool report = false;
  {
    absl::MutexLock lock(&mu_);
    waitpid(child->pid, nullptr, 0);
    child->reaped = true;
    report = !stopping_;
    if (report && !first_exit_) first_exit_ = exit;
  }
  if (report) on_exit_(exit);
}

std::optional<LocalWorkers::Exit> LocalWorkers::FirstExit(absl::Duration wait) {
  absl::MutexLock lock(&mu_);
  const auto exited = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return first_exit_.has_value(); };
  mu_.AwaitWithTimeout(absl::Condition(&exited), wait);
  return first_exit_;
}

void LocalWorkers::Signal(int signal) {
  absl::MutexLock lock(&mu_);
  for (const auto& child : children_) {
    if (!child->reaped) kill(child->pid, signal);
  }
}

bool LocalWorkers::AllReaped() const {
  return std::all_of(children_.begin(), children_.end(), [](const auto& child) { return child->reaped; });
}

void LocalWorkers::Stop(absl::Duration grace) {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  const auto all_reaped = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return AllReaped(); };
  if (grace > absl::ZeroDuration()) {
    Signal(SIGTERM);
    absl::MutexLock lock(&mu_);
    mu_.AwaitWithTimeout(absl::Condition(&all_reaped), grace);
  }
  Signal(SIGKILL);
  {
    absl::MutexLock lock(&mu_);
    if (!mu_.AwaitWithTimeout(absl::Condition(&all_reaped), kKillWait)) {
      LOG(ERROR) << "a worker does not end after SIGKILL; waiting for the kernel to let it go";
    }
  }
  for (const auto& child : children_) {
    if (child->watcher.joinable()) child->watcher.join();
  }
  RemoveSockets();
}

void LocalWorkers::RemoveSockets() {
  if (directory_.empty()) return;
  for (const std::string& address : addresses_) unlink(address.substr(sizeof("unix:") - 1).c_str());
  if (rmdir(directory_.c_str()) != 0) PLOG(WARNING) << "cannot remove " << directory_;
  directory_.clear();
}

LocalWorkers::~LocalWorkers() { Stop(absl::ZeroDuration()); }

}  // namespace quire::cluster
