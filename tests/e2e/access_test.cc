// Who gets in, with real processes: keys that are replaced, mutual TLS between coordinator and workers under rotation,
// refusals that both sides' logs explain, and sockets: none is open that was not announced.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/access/key_file.h"
#include "proto/cluster_tls.h"
#include "proto/testing/certificates.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

using proto::Credential;
using proto::SwappedFiles;
using proto::TestCa;

constexpr absl::Duration kLong = absl::Seconds(60);
constexpr char kCoordinator[] = "URI:spiffe://quire.test/coordinator";
constexpr char kWorker[] = "URI:spiffe://quire.test/worker/0";

// The files of mutual TLS of one process.
class ClusterFiles {
 public:
  void Put(const Credential& own, const std::string& ca) {
    swapped_.Put({{"tls.crt", own.certificate}, {"tls.key", own.key}, {"ca.crt", ca}});
  }
  std::vector<std::string> Flags() const {
    return {"--cluster_certfile=" + swapped_.path("tls.crt"), "--cluster_keyfile=" + swapped_.path("tls.key"),
            "--cluster_ca_certs=" + swapped_.path("ca.crt")};
  }

 private:
  SwappedFiles swapped_{TestDir("cluster_files")};
};

// A worker host that may be started again at the same port.
class WorkerHost {
 public:
  explicit WorkerHost(std::vector<std::string> flags) : flags_(std::move(flags)) { Start(); }

  void Start() {
    const std::string dir = TestDir("worker");
    std::vector<std::string> argv = {WorkerBinary(), absl::StrCat("--listen=127.0.0.1:", port_), "--num_threads=1",
                                     absl::StrCat("--port_file=", dir, "/port")};
    argv.insert(argv.end(), flags_.begin(), flags_.end());
    process_.reset();
    process_ = std::make_unique<Process>(argv, dir + "/log");
    port_ = AwaitPortFile(dir + "/port", process_.get(), kLong);
    EXPECT_GT(port_, 0) << process_->Log();
  }

  Process& process() { return *process_; }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  const std::vector<std::string> flags_;
  int port_ = 0;
  std::unique_ptr<Process> process_;
};

std::vector<std::string> Join(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(MutualTls, ASessionOutlivesTheRotationAndTheNextOneUsesTheNewFiles) {
  const TestCa old_ca("cluster");
  const TestCa new_ca("cluster");
  ClusterFiles worker_files, coordinator_files;
  worker_files.Put(old_ca.Issue(kWorker), old_ca.certificate());
  coordinator_files.Put(old_ca.Issue(kCoordinator), old_ca.certificate());
  WorkerHost first(worker_files.Flags()), second(worker_files.Flags());
  Cluster cluster(Join(coordinator_files.Flags(), {absl::StrCat("--workers=", first.address(), ",", second.address()),
                                                   "--worker_connect_timeout=20s"}));
  cluster.ExpectLosses();
  EXPECT_TRUE(absl::StrContains(first.process().Log(), "mutual TLS")) << first.process().Log();
  const auto request = TextRequest("Once upon a time", 40);
  const Output before = cluster.Generate(request);
  ASSERT_TRUE(before.ok()) << before.status.error_message();

  worker_files.Put(new_ca.Issue(kWorker), new_ca.certificate());
  coordinator_files.Put(new_ca.Issue(kCoordinator), new_ca.certificate());
  // Streams through the session of before, while both sides take the new files.
  const absl::Time rotated = absl::Now() + absl::Seconds(2 * proto::kTlsRefreshSeconds + 1);
  while (absl::Now() < rotated) EXPECT_EQ(Fingerprint(cluster.Generate(request)), Fingerprint(before));
  EXPECT_EQ(cluster.coordinator().Log().find("replica down"), std::string::npos) << "the rotation ended the session";

  // The next epoch dials with the new files; the old CA is not known to anybody any more.
  second.process().Signal(SIGKILL);
  second.Start();
  const Output after = cluster.Generate(request, kLong);
  EXPECT_EQ(Fingerprint(after), Fingerprint(before)) << cluster.coordinator().Log();
  EXPECT_NE(cluster.coordinator().Log().find("replica down"), std::string::npos);
}

TEST(MutualTls, StrangersAreRefusedAndBothLogsSayWhy) {
  const TestCa ca("cluster");
  const TestCa stranger("another cluster");
  ClusterFiles worker_files, known, unknown;
  worker_files.Put(ca.Issue(kWorker), ca.certificate());
  known.Put(ca.Issue(kCoordinator), ca.certificate());
  unknown.Put(stranger.Issue(kCoordinator), ca.certificate());
  ClusterFiles distrusting;
  distrusting.Put(ca.Issue(kCoordinator), stranger.certificate());
  WorkerHost tls(worker_files.Flags()), clear({});
  const struct {
    const char* name;
    WorkerHost* worker;
    std::vector<std::string> flags;
    std::string coordinator_says;
    std::string worker_says;  // empty: it has not noticed
  } cases[] = {
      {"a coordinator without certificate", &tls, {}, "", "wrong version number"},
      {"a coordinator of another CA", &tls, unknown.Flags(), "", "certificate verify failed"},
      {"a worker of another CA", &tls, distrusting.Flags(), "certificate verify failed", ""},
      {"a worker without certificate", &clear, known.Flags(), "wrong version number", ""},
  };
  for (const auto& c : cases) {
    const std::string dir = TestDir("refused");
    const std::string model = absl::StrCat("--model=", kDemoModel);
    Process coordinator(Join({CoordinatorBinary(), "--grpc_port=0", "--port=0", model,
                              absl::StrCat("--workers=", c.worker->address()), "--worker_connect_timeout=1s"},
                             c.flags),
                        dir + "/log");
    EXPECT_EQ(coordinator.Wait(kLong), 1) << c.name << "\n" << coordinator.Log();
    EXPECT_TRUE(absl::StrContains(coordinator.Log(), c.worker->address())) << c.name << "\n" << coordinator.Log();
    EXPECT_TRUE(absl::StrContains(coordinator.Log(), c.coordinator_says)) << c.name << "\n" << coordinator.Log();
    EXPECT_TRUE(absl::StrContains(c.worker->process().Log(), c.worker_says)) << c.name << "\n"
                                                                             << c.worker->process().Log();
  }
  EXPECT_EQ(tls.process().Wait(absl::ZeroDuration()), -1) << "refusals ended the worker";
}

class Keys {
 public:
  std::string Add(const std::string& tenant) {
    access::Caller caller;
    caller.tenant = tenant;
    const access::NewKey made = *access::MakeKey(caller);
    lines_ += made.line + "\n";
    return made.key;
  }
  void Clear() { lines_.clear(); }
  void Write(const std::string& more = "") const {
    std::ofstream(path_ + ".part") << lines_ << more;
    ASSERT_EQ(std::rename((path_ + ".part").c_str(), path_.c_str()), 0);
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_ = TestDir("keys") + "/keys";
  std::string lines_;
};

grpc::StatusCode CallWith(Cluster* cluster, const std::string& key) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kLong));
  if (!key.empty()) context.AddMetadata("authorization", "Bearer " + key);
  const auto reader = cluster->stub()->Generate(&context, TextRequest("Once", 2));
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
  }
  return reader->Finish().error_code();
}

TEST(ApiKeys, AReplacedFileChangesWhoMayCallAndABrokenOneDoesNot) {
  Keys keys;
  const std::string first = keys.Add("acme");
  keys.Write();
  Cluster cluster({"--workers=local:1", absl::StrCat("--api_key_file=", keys.path())});
  EXPECT_EQ(CallWith(&cluster, first), grpc::StatusCode::OK);
  EXPECT_EQ(CallWith(&cluster, ""), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(cluster.Health(""), "SERVING");  // without a key
  const std::string key_file = TestDir("key") + "/key", log = key_file + ".log";
  std::ofstream(key_file) << first << "\n";
  const std::string server = absl::StrCat("--server=127.0.0.1:", cluster.port());
  Process with_key({"tools/generate", server, "--api_key_file=" + key_file, "--max_tokens=4", "Once"}, log);
  EXPECT_EQ(with_key.Wait(kLong), 0) << with_key.Log();
  Process without({"tools/generate", server, "--max_tokens=4", "Once"}, log);
  EXPECT_EQ(without.Wait(kLong), 1);
  EXPECT_TRUE(absl::StrContains(without.Log(), "UNAUTHENTICATED")) << without.Log();

  keys.Clear();
  const std::string second = keys.Add("acme");
  keys.Write();
  EXPECT_TRUE(Await([&] { return CallWith(&cluster, second) == grpc::StatusCode::OK; }, kLong));
  EXPECT_EQ(CallWith(&cluster, first), grpc::StatusCode::UNAUTHENTICATED);

  keys.Add("other");
  keys.Write("nonsense\n");
  EXPECT_TRUE(Await([&] { return absl::StrContains(cluster.coordinator().Log(), "line 3"); }, kLong));
  EXPECT_EQ(CallWith(&cluster, second), grpc::StatusCode::OK);
  for (const std::string& secret : {first.substr(20), second.substr(20)}) {
    EXPECT_FALSE(absl::StrContains(cluster.coordinator().Log(), secret)) << "a secret is in the log";
  }
}

// TCP ports that a process listens on.
std::set<int> ListeningPorts(pid_t pid) {
  std::set<std::string> inodes;
  for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat("/proc/", pid, "/fd"))) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (absl::StartsWith(target, "socket:[")) inodes.insert(target.substr(8, target.size() - 9));
  }
  std::set<int> ports;
  for (const char* table : {"tcp", "tcp6"}) {
    std::ifstream in(absl::StrCat("/proc/", pid, "/net/", table));
    std::string line;
    while (std::getline(in, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state, queues, timer, retries, uid, timeout, inode;
      words >> slot >> local >> remote >> state >> queues >> timer >> retries >> uid >> timeout >> inode;
      const size_t colon = local.find(':');
      if (state == "0A" && inodes.count(inode) > 0) ports.insert(std::stoi(local.substr(colon + 1), nullptr, 16));
    }
  }
  return ports;
}

// Ports in a log's lines that match `pattern`, whose first group is the port.
std::set<int> Announced(const std::string& log, const std::string& pattern) {
  const std::regex line(pattern);
  std::set<int> ports;
  for (std::sregex_iterator it(log.begin(), log.end(), line), end; it != end; ++it) ports.insert(std::stoi((*it)[1]));
  return ports;
}

TEST(Sockets, NothingListensThatWasNotAnnounced) {
  Cluster local({"--workers=local:2"});
  const std::set<int> ports = ListeningPorts(local.coordinator().pid());
  EXPECT_EQ(ports.count(local.port()), 1u);
  EXPECT_EQ(ports, Announced(local.coordinator().Log(), "listening on \\S+:(\\d+) for"));
  for (const pid_t child : ChildrenOf(local.coordinator().pid())) {
    EXPECT_EQ(ListeningPorts(child), std::set<int>()) << "a local worker is open to the network";
  }

  WorkerHost host({"--health_listen=127.0.0.1:0"});
  const std::set<int> of_worker = ListeningPorts(host.process().pid());
  EXPECT_EQ(of_worker.size(), 2u);
  EXPECT_EQ(of_worker, Announced(host.process().Log(), "\\(port (\\d+)\\)"));
}

}  // namespace
}  // namespace quire::e2e
