// kill -9 of a random rank again and again under 32 streams: no stream is lost,
// every byte is that of the undisturbed run. Prints how long a kill keeps the
// streams waiting; nothing is decided by that time.
//
// QUIRE_KILLS is the number of kills (5); //tests/e2e:kill_long_test has 30.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/time/clock.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

constexpr size_t kNumStreams = 32;
constexpr size_t kNumRanks = 2;
constexpr int64_t kChunksBetweenKills = 80;  // of two choices, 40 tokens of each
constexpr absl::Duration kLong = absl::Seconds(60);

// A beam search says nothing before its end: its bytes count, its pace does
// not.
bool IsBeam(size_t stream) { return stream % 8 == 6; }

// Greedy, seeded, seeded with two choices, beams; prompts and lengths differ.
std::vector<quire::v1::GenerateRequest> Requests() {
  std::mt19937 random(11);
  std::vector<quire::v1::GenerateRequest> out;
  for (size_t i = 0; i < kNumStreams; ++i) {
    std::vector<uint32_t> ids(5 + random() % 60);
    for (uint32_t& id : ids) id = 10 + random() % 1000;
    out.push_back(IdsRequest(ids, 150 + random() % 150));
    quire::v1::SamplingParams* params = out.back().mutable_sampling_params();
    params->set_ignore_eos(true);
    params->set_logprobs(static_cast<int32_t>(i % 3));
    if (IsBeam(i)) {
      params->set_use_beam_search(true);
      params->set_beam_width(3);
    }
    if (i % 4 == 0 || IsBeam(i)) continue;
    params->set_temperature(0.9f);
    params->set_seed(i);
    if (i % 4 == 3) params->set_n(2);
  }
  return out;
}

// 32 clients that ask again and again for the same, each its own, until they
// are told to stop.
class Streams {
 public:
  Streams(Cluster* cluster, const std::vector<quire::v1::GenerateRequest>& requests,
          const std::vector<std::string>& expected)
      : num_chunks_(requests.size()), last_chunk_(requests.size()) {
    for (size_t i = 0; i < requests.size(); ++i) {
      threads_.emplace_back([=, &requests, &expected] {
        while (!stopping_) {
          const Output out = cluster->Generate(requests[i], absl::Seconds(120), [=] {
            ++num_chunks_[i];
            last_chunk_[i] = NowNanos();
          });
          EXPECT_EQ(Fingerprint(out), expected[i]) << "stream " << i << ": " << out.status.error_message();
          ++num_done_;
        }
      });
    }
  }
  ~Streams() { Stop(); }

  void Stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

  // Until every stream has got something since `nanos`. False: it took too
  // long.
  bool AwaitAll(int64_t nanos) const {
    return Await([&] { return All([&](size_t i) { return last_chunk_[i] > nanos; }); }, kLong);
  }
  // Until every stream has got this many chunks more.
  bool AwaitChunks(int64_t count) const {
    std::vector<int64_t> before(num_chunks_.begin(), num_chunks_.end());
    return Await([&] { return All([&](size_t i) { return num_chunks_[i] >= before[i] + count; }); }, kLong);
  }
  int num_done() const { return num_done_; }
  static int64_t NowNanos() { return absl::GetCurrentTimeNanos(); }

 private:
  template <typename F>
  bool All(const F& holds) const {
    for (size_t i = 0; i < last_chunk_.size(); ++i) {
      if (!IsBeam(i) && !holds(i)) return false;
    }
    return true;
  }

  std::vector<std::atomic<int64_t>> num_chunks_;  // by stream
  std::vector<std::atomic<int64_t>> last_chunk_;  // by stream
  std::atomic<bool> stopping_{false};
  std::atomic<int> num_done_{0};
  std::vector<std::thread> threads_;
};

// Kills one rank and waits until every stream goes on. The time from the kill
// to the last stream's next token.
double KillOne(Cluster* cluster, Streams* streams, size_t victim) {
  const pid_t coordinator = cluster->coordinator().pid();
  std::vector<pid_t> before;
  EXPECT_TRUE(Await([&] { return (before = ChildrenOf(coordinator)).size() == kNumRanks; }, kLong));
  if (before.size() != kNumRanks) return 0;
  const int64_t killed = Streams::NowNanos();
  kill(before[victim], SIGKILL);
  // What was computed before has reached its clients when new ranks have
  // started.
  EXPECT_TRUE(Await(
      [&] {
        const std::vector<pid_t> now = ChildrenOf(coordinator);
        return std::none_of(now.begin(), now.end(), [&](pid_t pid) { return pid == before[0] || pid == before[1]; });
      },
      kLong));
  EXPECT_TRUE(streams->AwaitAll(Streams::NowNanos())) << "a stream does not go on";
  return static_cast<double>(Streams::NowNanos() - killed) * 1e-9;
}

TEST(Kill, NoStreamIsLostAndEveryByteStays) {
  const char* asked = getenv("QUIRE_KILLS");
  const int num_kills = asked == nullptr ? 5 : std::max(1, atoi(asked));
  const std::vector<quire::v1::GenerateRequest> requests = Requests();
  Cluster cluster({"--workers=local:2"});
  cluster.ExpectLosses();
  std::vector<std::string> expected;
  for (const auto& request : requests) {
    const Output out = cluster.Generate(request);
    ASSERT_TRUE(out.ok()) << out.status.error_message();
    expected.push_back(Fingerprint(out));
  }
  Streams streams(&cluster, requests, expected);
  std::mt19937 random(30);
  std::vector<double> seconds;
  for (int k = 0; k < num_kills && !::testing::Test::HasFailure(); ++k) {
    // A stream that gets nowhere between three kills would be held to be their
    // cause (request/crash_record.h).
    EXPECT_TRUE(streams.AwaitChunks(kChunksBetweenKills));
    absl::SleepFor(absl::Milliseconds(num_kills > 10 ? 500 + random() % 1500 : 200 + random() % 400));
    seconds.push_back(KillOne(&cluster, &streams, random() % kNumRanks));
  }
  streams.Stop();
  EXPECT_EQ(cluster.Health("ready"), "SERVING");
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(10)));
  EXPECT_GE(streams.num_done(), static_cast<int>(kNumStreams));
  std::sort(seconds.begin(), seconds.end());
  ASSERT_FALSE(seconds.empty());
  std::printf(
      "%zu kills under %zu streams, %d requests: kill to the next "
      "token on every stream p50 %.3f s, p99 %.3f s\n",
      seconds.size(), kNumStreams, streams.num_done(), seconds[seconds.size() / 2], seconds.back());
}

}  // namespace
}  // namespace quire::e2e
