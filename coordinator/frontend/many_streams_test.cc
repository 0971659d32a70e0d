// Ten thousand gRPC streams at once: what they take of the coordinator's memory, and that each gets its whole answer.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/server.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "proto/generate.grpc.pb.h"

namespace quire::frontend {
namespace {

constexpr int kStreams = 10'000;
constexpr int kConnections = 4;  // each carries up to ServerOptions::max_concurrent_streams
constexpr int kTokens = 8;
constexpr int64_t kResidentBytesMax = int64_t{512} << 20;
constexpr absl::Duration kPatience = absl::Seconds(240);

int64_t ResidentBytes() {
  long pages = 0, resident = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  const bool read = file != nullptr && std::fscanf(file, "%ld %ld", &pages, &resident) == 2;
  if (file != nullptr) std::fclose(file);
  return read ? resident * sysconf(_SC_PAGESIZE) : 0;
}

// One stream of the client's.
class Reader final : public grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Reader(std::atomic<int>* num_whole, absl::BlockingCounter* done) : num_whole_(num_whole), done_(done) {}

  void Run(v1::Generator::Stub* stub) {
    for (const uint32_t id : {3u, 4u, 5u}) request_.mutable_tokenized()->add_input_ids(id);
    request_.set_stream(true);
    request_.mutable_sampling_params()->set_max_tokens(kTokens);
    request_.mutable_sampling_params()->set_ignore_eos(true);
    stub->async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_chunk()) num_tokens_ += response_.chunk().token_ids_size();
    ended_ = response_.has_complete() && response_.complete().output_ids_size() == kTokens;
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    *num_whole_ += status.ok() && ended_ && num_tokens_ == kTokens;
    done_->DecrementCount();
  }

 private:
  std::atomic<int>* const num_whole_;
  absl::BlockingCounter* const done_;
  grpc::ClientContext context_;
  v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  int num_tokens_ = 0;
  bool ended_ = false;
};

// The process of the clients: reads the port, opens all streams, tells how many got all their tokens.
void RunClients(int port_from, int count_to) {
  int port = 0;
  if (read(port_from, &port, sizeof(port)) != sizeof(port)) _exit(1);
  std::vector<std::unique_ptr<v1::Generator::Stub>> stubs;
  for (int i = 0; i < kConnections; ++i) {
    grpc::ChannelArguments args;
    args.SetInt("connection", i);  // channels that are alike would share one
    stubs.push_back(v1::Generator::NewStub(
        grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(), args)));
  }
  std::atomic<int> num_whole{0};
  absl::BlockingCounter done(kStreams);
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < kStreams; ++i) {
    readers.push_back(std::make_unique<Reader>(&num_whole, &done));
    readers.back()->Run(stubs[static_cast<size_t>(i % kConnections)].get());
  }
  done.Wait();
  const int whole = num_whole;
  _exit(write(count_to, &whole, sizeof(whole)) == sizeof(whole) ? 0 : 1);
}

TEST(ManyStreamsTest, TenThousandFitIntoHalfAGibibyte) {
  int port_pipe[2], count_pipe[2];
  ASSERT_EQ(pipe(port_pipe), 0);
  ASSERT_EQ(pipe(count_pipe), 0);
  // Before this process has a thread: gRPC does not fork.
  const pid_t clients = fork();
  ASSERT_GE(clients, 0);
  if (clients == 0) RunClients(port_pipe[0], count_pipe[1]);

  SimWorkerGroup group(SimWorkerGroupOptions{/*num_blocks=*/1024});
  engine::EngineOptions options;
  options.max_queue_len = 2 * kStreams;
  engine::Replicas engine(options, {&group});
  ASSERT_TRUE(engine.WaitUntilFormed(kPatience).ok());
  ApiOptions api_options;
  api_options.served_model_name = "sim";
  Api api(api_options, &engine, nullptr);
  ServerOptions server_options;
  server_options.port = 0;
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(server_options, &api);
  ASSERT_TRUE(server.ok()) << server.status();
  group.Hold();
  const int port = (*server)->port();
  ASSERT_EQ(write(port_pipe[1], &port, sizeof(port)), static_cast<ssize_t>(sizeof(port)));

  const absl::Time end = absl::Now() + kPatience;
  while (api.num_live_requests() < kStreams && absl::Now() < end) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_EQ(api.num_live_requests(), kStreams);
  const int64_t live = ResidentBytes();
  EXPECT_LT(live, kResidentBytesMax);
  group.Release();
  int whole = 0;
  EXPECT_EQ(read(count_pipe[0], &whole, sizeof(whole)), static_cast<ssize_t>(sizeof(whole)));
  EXPECT_EQ(whole, kStreams);
  std::cout << kStreams << " streams: " << (live >> 20) << " MiB while they wait, " << (ResidentBytes() >> 20)
            << " MiB after they ended\n";
  EXPECT_LT(ResidentBytes(), kResidentBytesMax);
  int status = 0;
  EXPECT_EQ(waitpid(clients, &status, 0), clients);
  (*server)->Shutdown(absl::ZeroDuration());
  engine.Stop(absl::ZeroDuration());
}

}  // namespace
}  // namespace quire::frontend
