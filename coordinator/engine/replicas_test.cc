// Several engines together over replicas that the test forms and loses by hand: who takes a request, where it goes when
// its replica is lost, and who finds it there.
#include "coordinator/engine/replicas.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/engine/sim_replica.h"

namespace quire::engine {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);
constexpr int32_t kVocab = 1000;  // an end of sequence is rare
constexpr int64_t kNumBlocks = 100;

bool Await(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

// Ranks that form and go down when the test says so, and compute when it lets them. Computes on the engine's thread and
// answers from there, which a listener must allow.
class HandGroup final : public cluster::WorkerGroup {
 public:
  void SetListener(Listener* listener) override { listener_ = listener; }
  void Form(uint64_t epoch) override {
    absl::MutexLock lock(&mu_);
    epoch_ = epoch;
    replica_.reset();
  }
  void Send(const StepPlan& plan) override {
    StepResult result;
    {
      absl::MutexLock lock(&mu_);
      if (replica_ == nullptr || plan.epoch != epoch_) return;
      if (steps_left_ == 0) return;  // hangs
      --steps_left_;
      result = replica_->Run(plan);
    }
    listener_->OnStepDone(std::move(result));
  }
  void Stop() override {}
  int world_size() const override { return 1; }
  uint64_t stale_replies() const override { return 0; }

  // Lets the replica form in its current epoch and compute this many steps.
  void Up(int64_t steps) {
    ReplicaInfo info;
    {
      absl::MutexLock lock(&mu_);
      replica_ = std::make_unique<SimReplica>(kNumBlocks, 16, kVocab);
      steps_left_ = steps;
      info.epoch = epoch_;
    }
    info.vocab_size = kVocab;
    info.max_model_len = 1000;
    info.device_blocks = kNumBlocks;
    info.block_size = 16;
    cluster::ReplicaDescription description;
    description.backends = {"hand"};
    description.weight_bytes = 1000;
    description.flops_per_token = 10;
    listener_->OnFormed(info, description);
  }
  void Down() { listener_->OnDown(epoch(), absl::UnavailableError("rank 0 died")); }
  uint64_t epoch() {
    absl::MutexLock lock(&mu_);
    return epoch_;
  }

 private:
  Listener* listener_ = nullptr;
  absl::Mutex mu_;
  uint64_t epoch_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t steps_left_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<SimReplica> replica_ ABSL_GUARDED_BY(mu_);
};

struct Client {
  absl::Mutex mu;
  std::vector<int32_t> tokens;
  absl::Status status;
  bool ended = false;

  bool HasEnded() {
    absl::MutexLock lock(&mu);
    return ended;
  }
  size_t NumTokens() {
    absl::MutexLock lock(&mu);
    return tokens.size();
  }
};

class Sink final : public RequestSink {
 public:
  explicit Sink(Client* client) : client_(client) {}
  void OnDelta(const ChoiceDelta& delta) override {
    absl::MutexLock lock(&client_->mu);
    EXPECT_FALSE(client_->ended);
    EXPECT_EQ(delta.offset, client_->tokens.size());
    for (const TokenDelta& token : delta.tokens) client_->tokens.push_back(token.token);
  }
  void OnEnd(const absl::Status& status, const RequestTiming&) override {
    absl::MutexLock lock(&client_->mu);
    EXPECT_FALSE(client_->ended);
    client_->ended = true;
    client_->status = status;
  }

 private:
  Client* const client_;
};

class ReplicasTest : public ::testing::Test {
 protected:
  static constexpr int64_t kHangs = 0;
  static constexpr int64_t kEver = 1 << 30;

  ReplicasTest() : replicas_(Options(), {&groups_[0], &groups_[1]}) {
    for (HandGroup& group : groups_) EXPECT_TRUE(Await([&] { return group.epoch() > 0; }));
  }
  ~ReplicasTest() override { replicas_.Stop(absl::ZeroDuration()); }

  static EngineOptions Options() {
    EngineOptions options;
    options.max_form_attempts = 2;
    return options;
  }

  void Up(size_t r, int64_t steps) {
    groups_[r].Up(steps);
    ASSERT_TRUE(Await([&] { return State(r).formed; }));
  }
  // Returns when the next epoch is being formed.
  void Down(size_t r) {
    const uint64_t epoch = groups_[r].epoch();
    groups_[r].Down();
    ASSERT_TRUE(Await([&] { return groups_[r].epoch() > epoch; }));
  }
  ReplicaState State(size_t r) { return replicas_.GetReports()[r].state; }
  int64_t NumRequests(size_t r) {
    const Loads loads = replicas_.GetReports()[r].loads;
    return loads.num_running_reqs + loads.num_waiting_reqs;
  }

  absl::StatusOr<uint64_t> Submit(const std::string& label, Client* client, uint32_t max_tokens = 200,
                                  absl::Time deadline = absl::InfiniteFuture()) {
    request::Request request;
    request.request_id = label;
    request.prompt_ids = {5, 6, 7};
    request.params.max_tokens = max_tokens;
    request.params.ignore_eos = true;
    request.params.seed = 3;
    request.deadline = deadline;
    return replicas_.Submit(std::move(request), std::make_unique<Sink>(client));
  }

  std::array<HandGroup, 2> groups_;
  std::array<Client, 4> clients_;
  Replicas replicas_;
};

TEST_F(ReplicasTest, OneThatFormedServesWhileTheOtherLoads) {
  EXPECT_TRUE(absl::IsUnavailable(Submit("early", &clients_[0]).status()));
  EXPECT_FALSE(replicas_.Ready());
  Up(1, kEver);
  EXPECT_TRUE(replicas_.WaitUntilFormed(kPatience).ok());
  EXPECT_TRUE(replicas_.Ready());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Submit(absl::StrCat("r", i), &clients_[i]).ok());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Await([&] { return clients_[i].HasEnded(); }));
  EXPECT_EQ(clients_[0].tokens.size(), 200u);
  EXPECT_TRUE(replicas_.GetReports()[0].backends.empty());
  EXPECT_EQ(replicas_.GetReports()[1].backends.size(), 1u);
}

TEST_F(ReplicasTest, ALabelBelongsToOneRequestOverAllReplicas) {
  Up(0, kHangs);
  Up(1, kHangs);
  ASSERT_TRUE(Submit("a", &clients_[0]).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Submit("a", &clients_[1]).status()));
  ASSERT_TRUE(Submit("b", &clients_[1]).ok());
  EXPECT_TRUE(Await([&] { return NumRequests(0) == 1 && NumRequests(1) == 1; })) << "load spreads them";
  replicas_.Abort("a");
  replicas_.Abort("b");
  replicas_.Abort("nobody");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(Await([&] { return clients_[i].HasEnded(); }));
    EXPECT_TRUE(absl::IsCancelled(clients_[i].status));
  }
  EXPECT_TRUE(Submit("a", &clients_[2]).ok());
}

// What a request may generate counts for each of its sequences, whether they are answers, samples to choose from or beams:
// three narrow requests are lighter than one of four sequences.
TEST_F(ReplicasTest, LoadCountsEverySequenceOfARequest) {
  Up(0, kHangs);
  Up(1, kHangs);
  for (uint32_t request::SamplingParams::*field :
       {&request::SamplingParams::n, &request::SamplingParams::best_of, &request::SamplingParams::beam_width}) {
    std::array<Client, 4> clients;
    request::Request wide;
    wide.request_id = "wide";
    wide.prompt_ids = {5, 6, 7};
    wide.params.max_tokens = 100;
    wide.params.*field = 4;
    ASSERT_TRUE(replicas_.Submit(std::move(wide), std::make_unique<Sink>(&clients[0])).ok());
    ASSERT_TRUE(Await([&] { return NumRequests(0) + NumRequests(1) == 1; }));
    const size_t other = NumRequests(0) == 1 ? 1 : 0;
    for (int i = 1; i < 4; ++i) ASSERT_TRUE(Submit(absl::StrCat("r", i), &clients[i], /*max_tokens=*/100).ok());
    EXPECT_TRUE(Await([&] { return NumRequests(other) == 3 && NumRequests(1 - other) == 1; }));
    for (const char* label : {"wide", "r1", "r2", "r3"}) replicas_.Abort(label);
    for (Client& client : clients) EXPECT_TRUE(Await([&] { return client.HasEnded(); }));
    EXPECT_TRUE(Await([&] { return NumRequests(0) + NumRequests(1) == 0; }));
  }
}

TEST_F(ReplicasTest, ALostReplicasRequestsGoOnInTheOther) {
  Up(0, kEver);
  ASSERT_TRUE(Submit("whole", &clients_[0]).ok());
  ASSERT_TRUE(Await([&] { return clients_[0].HasEnded(); }));
  Down(0);
  Up(0, 50);
  ASSERT_TRUE(Submit("moves", &clients_[1]).ok());
  ASSERT_TRUE(Await([&] { return clients_[1].NumTokens() == 50; })) << clients_[1].NumTokens();
  Up(1, kEver);
  Down(0);
  ASSERT_TRUE(Await([&] { return clients_[1].HasEnded(); }));
  EXPECT_TRUE(clients_[1].status.ok()) << clients_[1].status;
  EXPECT_EQ(clients_[1].tokens, clients_[0].tokens);
  EXPECT_EQ(replicas_.GetReports()[1].loads.generation_tokens_total, 150);
}

TEST_F(ReplicasTest, ReportsSayWhatStepsDid) {
  Up(0, kHangs);
  EXPECT_EQ(replicas_.GetReports()[0].num_ranks, 1);
  ASSERT_TRUE(Submit("hangs", &clients_[0], 5).ok());
  ASSERT_TRUE(Await([&] { return replicas_.GetReports()[0].loads.last_step_age_seconds > 0.02; })) << "its age goes on";
  Down(0);
  ASSERT_TRUE(Await([&] { return NumRequests(0) == 1; }));
  EXPECT_TRUE(Await([&] { return replicas_.GetReports()[0].loads.oldest_waiting_seconds > 0.02; }));
  EXPECT_EQ(replicas_.GetReports()[0].loads.num_waiting_tokens, 3);
  EXPECT_EQ(replicas_.GetReports()[0].loads.num_recoveries, 0);
  Up(0, kEver);
  ASSERT_TRUE(Await([&] { return clients_[0].HasEnded(); }));
  // The overlapped step behind the last one may compute a token that nobody wants.
  ASSERT_TRUE(Await([&] { return replicas_.GetReports()[0].loads.last_step_age_seconds == 0; }));
  const ReplicaReport report = replicas_.GetReports()[0];
  const metrics::HistogramValues steps = report.step_metrics->total.Read();
  EXPECT_GE(steps.count(), 5u);
  EXPECT_EQ(replicas_.GetTimeline(0).size(), steps.count());
  EXPECT_EQ(report.loads.read_bytes_total, 1000.0 * static_cast<double>(steps.count()));
  EXPECT_EQ(report.loads.flops_total, 10 * report.step_metrics->tokens.Read().sum);
  EXPECT_GT(report.loads.read_bytes_per_second, 0);
  EXPECT_EQ(report.loads.num_recoveries, 1);
  EXPECT_EQ(report.loads.num_waiting_reqs, 0);
  EXPECT_EQ(report.loads.oldest_waiting_seconds, 0);
}

TEST_F(ReplicasTest, CancelsAndDeadlinesFindWhatMoved) {
  Up(0, 10);
  const absl::StatusOr<uint64_t> id = Submit("moves", &clients_[0]);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(Submit("expires", &clients_[1], 200, absl::Now() + absl::Milliseconds(500)).ok());
  ASSERT_TRUE(Submit("aborted", &clients_[2]).ok());
  Up(1, kHangs);
  Down(0);
  ASSERT_TRUE(Await([&] { return NumRequests(1) >= 2; }));
  replicas_.Cancel(*id);
  replicas_.Abort("aborted");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Await([&] { return clients_[i].HasEnded(); })) << i;
  EXPECT_TRUE(absl::IsCancelled(clients_[0].status));
  EXPECT_TRUE(absl::IsDeadlineExceeded(clients_[1].status)) << clients_[1].status;
  EXPECT_TRUE(absl::IsCancelled(clients_[2].status));
}

TEST_F(ReplicasTest, WithNoneFormedRequestsWaitForWhicheverIsBackFirst) {
  Up(0, 20);
  Up(1, 20);
  ASSERT_TRUE(Submit("a", &clients_[0]).ok());
  ASSERT_TRUE(Submit("b", &clients_[1]).ok());
  ASSERT_TRUE(Await([&] { return clients_[0].NumTokens() == 20 && clients_[1].NumTokens() == 20; }));
  Down(0);
  ASSERT_TRUE(Await([&] { return NumRequests(1) == 2; }));
  Down(1);
  ASSERT_TRUE(Submit("c", &clients_[2]).ok()) << "may wait";
  EXPECT_TRUE(Await([&] { return NumRequests(0) + NumRequests(1) == 3; }));
  EXPECT_FALSE(replicas_.Ready());
  Up(0, kEver);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Await([&] { return clients_[i].HasEnded(); })) << i;
    EXPECT_TRUE(clients_[i].status.ok()) << clients_[i].status;
  }
}

TEST_F(ReplicasTest, RequestsFailOnlyWhenNoReplicaIsLeft) {
  Up(0, 5);
  Up(1, 5);
  ASSERT_TRUE(Submit("a", &clients_[0]).ok());
  ASSERT_TRUE(Await([&] { return clients_[0].NumTokens() > 0; }));
  for (size_t r = 0; r < 2; ++r) {
    Down(r);
    groups_[r].Down();  // the second attempt was the last one
    ASSERT_TRUE(Await([&] { return State(r).failed; }));
    if (r == 0) {
      EXPECT_FALSE(clients_[0].HasEnded());
      EXPECT_TRUE(replicas_.GetReplica(nullptr, nullptr).ok());
    }
  }
  EXPECT_TRUE(Await([&] { return clients_[0].HasEnded(); }));
  EXPECT_TRUE(absl::IsUnavailable(clients_[0].status)) << clients_[0].status;
  EXPECT_TRUE(absl::IsFailedPrecondition(replicas_.GetReplica(nullptr, nullptr)));
  EXPECT_TRUE(absl::IsUnavailable(Submit("late", &clients_[1]).status()));
}

}  // namespace
}  // namespace quire::engine
