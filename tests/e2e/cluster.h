// Real processes for end-to-end tests: a coordinator (and, if wanted, worker hosts) on loopback, and a small
// synchronous client.
//
// Thread rule: a Cluster belongs to one thread; Generate and friends may be called from many. Every wait is bounded;
// processes die with the object.
#ifndef QUIRE_TESTS_E2E_CLUSTER_H_
#define QUIRE_TESTS_E2E_CLUSTER_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/generate.grpc.pb.h"
#include "proto/generate.pb.h"

namespace quire::e2e {

inline constexpr char kDemoModel[] = "models/demo";

// A child process with its stderr in a file.
class Process {
 public:
  Process(const std::vector<std::string>& argv, std::string log_path);
  ~Process();  // SIGKILL if it still runs

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // The exit code, 128 + signal for a killed process, -1 if it still runs after `timeout`.
  int Wait(absl::Duration timeout);
  std::string Log() const;

 private:
  pid_t pid_ = -1;
  int exit_code_ = -1;
  std::string log_path_;
};

std::string TestDir(const std::string& name);  // a fresh directory
std::string CoordinatorBinary();
std::string WorkerBinary();
// Reads a port file; 0 if it does not appear in time or the process ends before.
int AwaitPortFile(const std::string& path, Process* process, absl::Duration timeout);
std::vector<pid_t> ChildrenOf(pid_t pid);

struct Output {
  grpc::Status status;
  std::string error_param;                                     // the trailer
  std::vector<quire::v1::GenerateResponse::Complete> choices;  // by index
  // Of the chunks, by choice: what a streaming client saw.
  std::vector<std::vector<uint32_t>> streamed_ids;
  std::vector<std::string> streamed_text;
  bool ok() const { return status.ok(); }
};

// A request for `text` with defaults that tests want: greedy, `max_tokens`, streaming.
quire::v1::GenerateRequest TextRequest(const std::string& text, uint32_t max_tokens);
quire::v1::GenerateRequest IdsRequest(const std::vector<uint32_t>& ids, uint32_t max_tokens);

class Cluster {
 public:
  // Starts a coordinator with --grpc_port=0, --port=0 and these flags (default --model=models/demo) and waits until it is ready.
  explicit Cluster(std::vector<std::string> flags);
  ~Cluster();  // a test failure if a rank was lost and ExpectLosses was not called

  Process& coordinator() { return *process_; }
  void ExpectLosses() { expects_losses_ = true; }
  int port() const { return port_; }
  int http_port() const { return http_port_; }
  quire::v1::Generator::Stub* stub() { return stub_.get(); }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }

  // `on_chunk` is called for every chunk as it comes.
  Output Generate(const quire::v1::GenerateRequest& request, absl::Duration timeout = absl::Seconds(120),
                  const std::function<void()>& on_chunk = nullptr);
  quire::v1::GetLoadsResponse Loads();
  // "SERVING" | "NOT_SERVING" | the error.
  std::string Health(const std::string& service);
  // Waits until no request runs or waits and every rank reports 0 used blocks.
  bool AwaitIdle(absl::Duration timeout);

 private:
  std::unique_ptr<Process> process_;
  int port_ = 0;
  int http_port_ = 0;
  bool expects_losses_ = false;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<quire::v1::Generator::Stub> stub_;
};

bool Await(const std::function<bool()>& condition, absl::Duration timeout);

// Bytes of everything that must not depend on neighbours: ids, log-probs, text, reason.
std::string Fingerprint(const Output& output);

}  // namespace quire::e2e

#endif  // QUIRE_TESTS_E2E_CLUSTER_H_
