// Clients that vanish: 1,000 cancels at random moments and a killed client leave no block behind, by the ranks' own
// reports.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

TEST(Cancel, AThousandCancelsAtRandomMoments) {
  Cluster cluster({"--workers=local:2", "--max_num_seqs=32", "--num_device_blocks_override=200"});
  const std::string before = Fingerprint(cluster.Generate(TextRequest("Once upon a time", 30)));
  constexpr int kThreads = 20, kEach = 50;
  std::atomic<int> cancelled{0}, finished{0};
  std::vector<std::thread> clients;
  for (int t = 0; t < kThreads; ++t) {
    clients.emplace_back([&, t] {
      std::mt19937 rng(t);
      for (int i = 0; i < kEach; ++i) {
        grpc::ClientContext context;
        quire::v1::GenerateRequest request = TextRequest("The little dog", 60 + rng() % 200);
        request.mutable_sampling_params()->set_ignore_eos(true);
        if (rng() % 4 == 0) {
          request.mutable_sampling_params()->set_temperature(1);
          request.mutable_sampling_params()->set_n(2 + rng() % 3);
        }
        request.set_request_id(absl::StrCat("cancel-", t, "-", i));
        auto reader = cluster.stub()->Generate(&context, request);
        quire::v1::GenerateResponse response;
        if (rng() % 3 == 0) {
          absl::SleepFor(absl::Microseconds(rng() % 20000));  // often before the first token
        } else {
          for (int reads = rng() % 8; reads > 0 && reader->Read(&response); --reads) {
          }
        }
        if (rng() % 5 == 0) {
          grpc::ClientContext abort_context;
          quire::v1::AbortRequest abort;
          abort.add_request_ids(request.request_id());
          quire::v1::AbortResponse none;
          EXPECT_TRUE(cluster.stub()->Abort(&abort_context, abort, &none).ok());
        }
        context.TryCancel();
        while (reader->Read(&response)) {
        }
        const grpc::Status status = reader->Finish();
        EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::CANCELLED) << status.error_message();
        (status.ok() ? finished : cancelled)++;
      }
    });
  }
  for (std::thread& t : clients) t.join();
  EXPECT_EQ(cancelled + finished, kThreads * kEach);
  EXPECT_GT(cancelled, kThreads * kEach / 2) << "most must be cut off, else this proves little";
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10))) << cluster.Loads().ShortDebugString();
  EXPECT_EQ(Fingerprint(cluster.Generate(TextRequest("Once upon a time", 30))), before);
}

TEST(Cancel, AClientThatIsKilledLetsGo) {
  Cluster cluster({"--workers=local:1"});
  const pid_t client = fork();
  ASSERT_GE(client, 0);
  if (client == 0) {  // only async-signal-safe calls: exec the real client
    const std::string server = absl::StrCat("--server=127.0.0.1:", cluster.port());
    execl("tools/generate", "tools/generate", server.c_str(), "--max_tokens=400", "--ignore_eos",
          "--prompt=Once upon a time", nullptr);
    _exit(127);
  }
  ASSERT_TRUE(Await([&] { return cluster.Loads().num_running_reqs() == 1; }, absl::Seconds(10)));
  kill(client, SIGKILL);
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(5))) << cluster.Loads().ShortDebugString();
}

}  // namespace
}  // namespace quire::e2e
