// Processes and client. See cluster.h.
#include "tests/e2e/cluster.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/health_check_service_interface.h"
#include "tests/e2e/health.grpc.pb.h"

namespace quire::e2e {

namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

Process::Process(const std::vector<std::string>& argv, std::string log_path) : log_path_(std::move(log_path)) {
  std::vector<char*> args;
  for (const std::string& a : argv) args.push_back(const_cast<char*>(a.c_str()));
  args.push_back(nullptr);
  const int log = open(log_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  CHECK_GE(log, 0) << log_path_;
  pid_ = fork();
  CHECK_GE(pid_, 0);
  if (pid_ == 0) {
    dup2(log, 1);
    dup2(log, 2);
    execv(args[0], args.data());
    _exit(127);
  }
  close(log);
}

Process::~Process() {
  if (exit_code_ >= 0) return;
  Signal(SIGKILL);
  Wait(absl::Seconds(10));
}

void Process::Signal(int signal) const {
  if (exit_code_ < 0) kill(pid_, signal);
}

int Process::Wait(absl::Duration timeout) {
  Await(
      [this] {
        int status = 0;
        if (exit_code_ < 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
          exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        return exit_code_ >= 0;
      },
      timeout);
  return exit_code_;
}

std::string Process::Log() const { return ReadFile(log_path_); }

bool Await(const std::function<bool()>& condition, absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return true;
}

std::string TestDir(const std::string& name) {
  const char* root = getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(root == nullptr ? "/tmp" : root, "/", name, "-XXXXXX");
  CHECK(mkdtemp(path.data()) != nullptr) << path;
  return path;
}

std::string CoordinatorBinary() { return "coordinator/coordinator"; }
std::string WorkerBinary() { return "worker/worker"; }

int AwaitPortFile(const std::string& path, Process* process, absl::Duration timeout) {
  int port = 0;
  Await([&] { return absl::SimpleAtoi(ReadFile(path), &port) || process->Wait(absl::ZeroDuration()) >= 0; }, timeout);
  return port;
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    int child = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &child)) continue;
    // "pid (name) state parent ...": the name may hold anything, so count from its closing bracket.
    const std::string stat = ReadFile(entry.path() / "stat");
    const size_t name_end = stat.rfind(')');
    int parent = 0;
    char state = 0;
    if (name_end == std::string::npos || sscanf(stat.c_str() + name_end + 1, " %c %d", &state, &parent) != 2) continue;
    if (parent == pid && state != 'Z') out.push_back(child);
  }
  return out;
}

quire::v1::GenerateRequest TextRequest(const std::string& text, uint32_t max_tokens) {
  quire::v1::GenerateRequest request;
  request.set_text(text);
  request.set_stream(true);
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(max_tokens);
  return request;
}

quire::v1::GenerateRequest IdsRequest(const std::vector<uint32_t>& ids, uint32_t max_tokens) {
  quire::v1::GenerateRequest request = TextRequest("", max_tokens);
  for (uint32_t id : ids) request.mutable_tokenized()->add_input_ids(id);
  return request;
}

Cluster::Cluster(std::vector<std::string> flags) {
  const std::string dir = TestDir("cluster");
  std::vector<std::string> argv = {CoordinatorBinary(), "--grpc_port=0", absl::StrCat("--port_file=", dir, "/port"),
                                   "--port=0", absl::StrCat("--http_port_file=", dir, "/http_port")};
  bool has_model = false;
  for (const std::string& f : flags) has_model |= f.rfind("--model=", 0) == 0;
  if (!has_model) argv.push_back(absl::StrCat("--model=", kDemoModel));
  argv.insert(argv.end(), flags.begin(), flags.end());
  process_ = std::make_unique<Process>(argv, dir + "/log");
  port_ = AwaitPortFile(dir + "/port", process_.get(), absl::Seconds(30));
  CHECK_GT(port_, 0) << process_->Log();
  http_port_ = AwaitPortFile(dir + "/http_port", process_.get(), absl::Seconds(1));  // 0 if the flags want none
  channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials());
  stub_ = quire::v1::Generator::NewStub(channel_);
  CHECK(Await([this] { return Health("ready") == "SERVING"; }, absl::Seconds(60))) << process_->Log();
}

Cluster::~Cluster() {
  // Recovery is so smooth that without this a rank that dies of every request would go unnoticed.
  if (expects_losses_) return;
  EXPECT_EQ(process_->Log().find("replica down"), std::string::npos) << process_->Log();
}

Output Cluster::Generate(const quire::v1::GenerateRequest& request, absl::Duration timeout,
                         const std::function<void()>& on_chunk) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  auto reader = stub_->Generate(&context, request);
  Output out;
  const auto at = [&out](size_t index) {
    if (out.choices.size() <= index) {
      out.choices.resize(index + 1);
      out.streamed_ids.resize(index + 1);
      out.streamed_text.resize(index + 1);
    }
    return index;
  };
  quire::v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_chunk()) {
      if (on_chunk) on_chunk();
      const size_t i = at(response.chunk().index());
      if (response.chunk().token_ids_size() > 0)
        CHECK_EQ(response.chunk().offset(), out.streamed_ids[i].size()) << "a gap in the stream";
      for (uint32_t id : response.chunk().token_ids()) out.streamed_ids[i].push_back(id);
      out.streamed_text[i] += response.chunk().text();
    } else {
      const size_t i = at(response.complete().index());
      out.choices[i] = response.complete();
    }
  }
  out.status = reader->Finish();
  const auto& trailers = context.GetServerTrailingMetadata();
  const auto it = trailers.find("error-param");
  if (it != trailers.end()) out.error_param = std::string(it->second.data(), it->second.size());
  return out;
}

quire::v1::GetLoadsResponse Cluster::Loads() {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  quire::v1::GetLoadsResponse response;
  const grpc::Status status = stub_->GetLoads(&context, {}, &response);
  CHECK(status.ok()) << status.error_message();
  return response;
}

std::string Cluster::Health(const std::string& service) {
  auto stub = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(service);
  grpc::health::v1::HealthCheckResponse response;
  const grpc::Status status = stub->Check(&context, request, &response);
  if (!status.ok()) return status.error_message();
  return grpc::health::v1::HealthCheckResponse::ServingStatus_Name(response.status());
}

bool Cluster::AwaitIdle(absl::Duration timeout) {
  return Await(
      [this] {
        const quire::v1::GetLoadsResponse loads = Loads();
        bool idle = loads.num_running_reqs() == 0 && loads.num_waiting_reqs() == 0;
        for (const auto& rank : loads.ranks()) idle &= rank.device_blocks_used() == 0;
        return idle;
      },
      timeout);
}

std::string Fingerprint(const Output& output) {
  std::string out = absl::StrCat(output.status.error_code(), ":");
  for (const auto& choice : output.choices) {
    absl::StrAppend(&out, "[", choice.index(), " ", choice.finish_reason(), " ");
    for (uint32_t id : choice.output_ids()) absl::StrAppend(&out, id, ",");
    out += choice.output_logprobs().SerializeAsString();
    out += choice.input_logprobs().SerializeAsString();
    out += "]";
  }
  for (const std::string& text : output.streamed_text) out += text + "|";
  return out;
}

}  // namespace quire::e2e
