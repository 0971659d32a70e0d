// The group over scripted ranks: formation, every way in which a formation or an epoch can end, and what must not get
// through (G2, G3, W2, W3).
#include "coordinator/cluster/grpc_worker_group.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/cluster/scripted_worker.h"

namespace quire::cluster {
namespace {

using Then = ScriptedWorker::Then;
constexpr absl::Duration kLong = absl::Seconds(30);  // far beyond what anything here takes

class Recorder final : public WorkerGroup::Listener {
 public:
  void OnFormed(const ReplicaInfo& info, const ReplicaDescription& description) override {
    absl::MutexLock lock(&mu_);
    formed_.push_back(info);
    description_ = description;
  }
  void OnStepDone(StepResult result) override {
    absl::MutexLock lock(&mu_);
    steps_.push_back(std::move(result));
  }
  void OnDown(uint64_t epoch, absl::Status reason) override {
    absl::MutexLock lock(&mu_);
    downs_.emplace_back(epoch, std::move(reason));
  }

  // The epoch must form.
  ReplicaInfo AwaitFormed(uint64_t epoch) {
    absl::MutexLock lock(&mu_);
    const auto settled = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return (!formed_.empty() && formed_.back().epoch == epoch) || (!downs_.empty() && downs_.back().first == epoch);
    };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&settled), kLong)) << "epoch " << epoch;
    if (!downs_.empty() && downs_.back().first == epoch) ADD_FAILURE() << downs_.back().second;
    return formed_.empty() ? ReplicaInfo() : formed_.back();
  }
  absl::Status AwaitDown(uint64_t epoch) {
    absl::MutexLock lock(&mu_);
    const auto down = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return !downs_.empty() && downs_.back().first == epoch; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&down), kLong)) << "epoch " << epoch;
    return downs_.empty() ? absl::OkStatus() : downs_.back().second;
  }
  std::vector<StepResult> AwaitSteps(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return steps_.size() >= count; };
    EXPECT_TRUE(mu_.AwaitWithTimeout(absl::Condition(&enough), kLong)) << steps_.size() << " of " << count;
    return steps_;
  }
  size_t num_downs() {
    absl::MutexLock lock(&mu_);
    return downs_.size();
  }
  ReplicaDescription description() {
    absl::MutexLock lock(&mu_);
    return description_;
  }

 private:
  absl::Mutex mu_;
  std::vector<ReplicaInfo> formed_ ABSL_GUARDED_BY(mu_);
  ReplicaDescription description_ ABSL_GUARDED_BY(mu_);
  std::vector<StepResult> steps_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<uint64_t, absl::Status>> downs_ ABSL_GUARDED_BY(mu_);
};

// Two ranks, a recorder and the group that is made of them.
class GrpcWorkerGroupTest : public testing::Test {
 protected:
  void MakeGroup(std::vector<ScriptedWorker::Script> scripts) {
    for (auto& script : scripts) workers_.push_back(std::make_unique<ScriptedWorker>(std::move(script)));
    for (const auto& worker : workers_) options_.workers.addresses.push_back(worker->address());
    options_.formation.load.model_dir = "/models/x";
    options_.formation.connect_timeout = kLong;
    group_ = std::make_unique<GrpcWorkerGroup>(options_);
    group_->SetListener(&recorder_);
  }
  void MakeTwo() { MakeGroup({ScriptedWorker::DefaultScript(), ScriptedWorker::DefaultScript()}); }
  void FormTwo() {
    MakeTwo();
    group_->Form(1);
    recorder_.AwaitFormed(1);
  }
  // How the formation of two ranks fails when rank 1 follows `script`.
  absl::Status DownBy(ScriptedWorker::Script script) {
    MakeGroup({ScriptedWorker::DefaultScript(), std::move(script)});
    group_->Form(1);
    const absl::Status status = recorder_.AwaitDown(1);
    EXPECT_TRUE(absl::StrContains(status.message(), Rank(1))) << status;
    return status;
  }
  std::string Rank(int rank) { return absl::StrCat("rank ", rank, " (", workers_[rank]->address(), ")"); }
  static StepPlan Plan(uint64_t epoch, uint64_t step, uint32_t deadline_ms = 30'000) {
    StepPlan plan;
    plan.epoch = epoch;
    plan.step = step;
    plan.deadline_ms = deadline_ms;
    plan.decode = {0, 1, 2};
    return plan;
  }
  // Ends the group before the recorder and the workers.
  void TearDown() override { group_.reset(); }

  std::vector<std::unique_ptr<ScriptedWorker>> workers_;
  Recorder recorder_;
  GrpcWorkerGroupOptions options_;
  std::unique_ptr<GrpcWorkerGroup> group_;
};

TEST_F(GrpcWorkerGroupTest, FormsWithTheLeastBlocksAndTheSumsOfTheRanks) {
  ScriptedWorker::Script small = ScriptedWorker::DefaultScript();
  small.loaded.set_device_blocks(700);
  small.loaded.set_host_blocks(60);
  small.loaded.mutable_model()->set_weight_bytes(3000);
  small.loaded.mutable_model()->set_zero_share(0.75);
  MakeGroup({ScriptedWorker::DefaultScript(), small});
  group_->Form(4);
  const ReplicaInfo info = recorder_.AwaitFormed(4);
  EXPECT_EQ(info.epoch, 4u);
  EXPECT_EQ(info.device_blocks, 700);
  EXPECT_EQ(info.host_blocks, 50);
  EXPECT_EQ(info.vocab_size, 32000);
  EXPECT_EQ(info.max_model_len, 2048);
  EXPECT_EQ(info.eos_token_ids, std::vector<int32_t>{2});
  const ReplicaDescription description = recorder_.description();
  EXPECT_EQ(description.collective, "shm");
  EXPECT_EQ(description.weight_bytes, 4000u);
  EXPECT_DOUBLE_EQ(description.zero_share, (1000 * 0.25 + 3000 * 0.75) / 4000) << "by what each rank holds";
  EXPECT_EQ(description.kv_bytes_per_token, 128u);
  EXPECT_EQ(description.bos_token_id, -1);
  EXPECT_EQ(description.backends, (std::vector<std::string>{"cpu/test", "cpu/test"}));
  for (uint32_t rank = 0; rank < 2; ++rank) {
    const auto received = workers_[rank]->received();
    ASSERT_EQ(received.size(), 3u);
    EXPECT_EQ(received[0].join().epoch(), 4u);
    EXPECT_EQ(received[0].join().rank(), rank);
    EXPECT_EQ(received[0].join().world_size(), 2u);
    EXPECT_EQ(received[1].load().model_dir(), "/models/x");
    EXPECT_EQ(received[1].load().collective(), "shm");
    EXPECT_EQ(received[1].load().listen_host(), "127.0.0.1");
    EXPECT_EQ(received[1].load().collective_name(), workers_[0]->received()[1].load().collective_name());
    EXPECT_DOUBLE_EQ(received[1].load().memory_utilization(), 0.9);
    EXPECT_EQ(received[2].start().device_blocks(), 700u);
    EXPECT_EQ(received[2].start().host_blocks(), 50u);
  }
}

TEST_F(GrpcWorkerGroupTest, BlockCountCanBeCappedButNotRaised) {
  options_.formation.load.num_device_blocks_override = 20;
  FormTwo();
  EXPECT_EQ(workers_[1]->received().back().start().device_blocks(), 20u);
}

TEST_F(GrpcWorkerGroupTest, RanksOnTwoHostsUseGloo) {
  ScriptedWorker::Script far = ScriptedWorker::DefaultScript();
  far.host_id = "host-b";
  MakeGroup({ScriptedWorker::DefaultScript(), far});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  EXPECT_EQ(workers_[0]->received()[1].load().collective(), "gloo");
}

TEST(ChooseCollectiveTest, Table) {
  EXPECT_EQ(*ChooseCollective("auto", {"a"}), "single");
  EXPECT_EQ(*ChooseCollective("gloo", {"a"}), "single");
  EXPECT_EQ(*ChooseCollective("auto", {"a", "a"}), "shm");
  EXPECT_EQ(*ChooseCollective("auto", {"a", "b"}), "gloo");
  EXPECT_EQ(*ChooseCollective("auto", {"", ""}), "gloo") << "a host without an id shares with nobody";
  EXPECT_EQ(*ChooseCollective("gloo", {"a", "a"}), "gloo");
  EXPECT_EQ(ChooseCollective("shm", {"a", "a", "b"}).status().message(),
            "--collective=shm: ranks 0 and 2 are on different hosts and share no memory");
  EXPECT_EQ(*ChooseCollective("nccl", {"a"}), "single");
  EXPECT_EQ(*ChooseCollective("auto", {"a", "b"}, {"cuda/sm_90 (x)", "cuda/sm_90 (x)"}), "nccl");
  EXPECT_EQ(*ChooseCollective("shm", {"a", "a"}, {"cuda/sm_90 (x)", "cuda/sm_90 (x)"}), "shm");
  EXPECT_EQ(*ChooseCollective("auto", {"a", "a"}, {"cuda/sm_90 (x)", "cpu/avx2"}), "shm");
  EXPECT_EQ(ChooseCollective("nccl", {"a", "a"}, {"cuda/sm_90 (x)", "cpu/avx2"}).status().message(),
            "--collective=nccl: rank 1 does not compute on a GPU");
  EXPECT_FALSE(ChooseCollective("mpi", {"a"}).ok());
}

TEST_F(GrpcWorkerGroupTest, StepsAreAnsweredInOrderTwoInFlight) {
  FormTwo();
  group_->Send(Plan(1, 1));
  for (uint64_t step = 2; step <= 20; ++step) {
    group_->Send(Plan(1, step));
    recorder_.AwaitSteps(step - 1);
  }
  const std::vector<StepResult> steps = recorder_.AwaitSteps(20);
  ASSERT_EQ(steps.size(), 20u);
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(steps[i].step, i + 1);
    const int32_t first = static_cast<int32_t>(100 * (i + 1));
    EXPECT_EQ(steps[i].tokens, (std::vector<int32_t>{first, first + 1, first + 2}));
    ASSERT_EQ(steps[i].ranks.size(), 2u);
    EXPECT_EQ(steps[i].ranks[1].device_blocks_used, 11u);
  }
  EXPECT_EQ(group_->stale_replies(), 0u);
  EXPECT_EQ(recorder_.num_downs(), 0u);
}

TEST_F(GrpcWorkerGroupTest, OtherProtocolVersionIsRefused) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.protocol_version = 77;
  const absl::Status status = DownBy(script);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "speaks version 77")) << status;
}

TEST_F(GrpcWorkerGroupTest, RanksThatDisagreeAreBothNamed) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.loaded.mutable_model()->set_vocab_size(31999);
  const absl::Status status = DownBy(script);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(
      absl::StrContains(status.message(), absl::StrCat("vocab_size: ", Rank(1), " reports 31999, ", Rank(0), " 32000")))
      << status;
}

TEST_F(GrpcWorkerGroupTest, RanksWithOtherEndTokensDisagree) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.loaded.mutable_model()->add_eos_token_ids(7);
  EXPECT_TRUE(absl::StrContains(DownBy(script).message(), "eos_token_ids"));
}

TEST_F(GrpcWorkerGroupTest, RanksWithOtherAttentionWindowsDisagree) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.loaded.mutable_model()->set_attention_window(512);
  EXPECT_TRUE(absl::StrContains(DownBy(script).message(), "attention_window"));
}

TEST_F(GrpcWorkerGroupTest, NoRoomForOneBlock) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.loaded.set_device_blocks(0);
  EXPECT_EQ(DownBy(script).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(GrpcWorkerGroupTest, LoadErrorKeepsItsCodeAndWords) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.load_error = static_cast<uint32_t>(absl::StatusCode::kInvalidArgument);
  const absl::Status status = DownBy(script);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(status.message(), "could not load the model: tensor model.norm.weight is missing"))
      << status;
}

TEST_F(GrpcWorkerGroupTest, RankThatDoesNotJoin) {
  options_.formation.connect_timeout = absl::Milliseconds(300);
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.answers_join = false;
  workers_.push_back(std::make_unique<ScriptedWorker>(script));
  options_.workers.addresses = {workers_[0]->address()};
  group_ = std::make_unique<GrpcWorkerGroup>(options_);
  group_->SetListener(&recorder_);
  group_->Form(1);
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat(Rank(0), " did not join within 300ms"))) << status;
}

// One host refuses connections, the other takes them (its backlog does) but never says a word.
TEST_F(GrpcWorkerGroupTest, HostsThatDoNotAnswerAreNamed) {
  std::string refused;
  {
    ScriptedWorker gone(ScriptedWorker::DefaultScript());
    refused = gone.address();
  }
  const int silent = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in name = {};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(silent, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
  ASSERT_EQ(listen(silent, 8), 0);
  socklen_t size = sizeof(name);
  ASSERT_EQ(getsockname(silent, reinterpret_cast<sockaddr*>(&name), &size), 0);
  const std::string mute = absl::StrCat("127.0.0.1:", ntohs(name.sin_port));
  options_.workers.addresses = {refused, mute};
  options_.formation.connect_timeout = absl::Milliseconds(400);
  group_ = std::make_unique<GrpcWorkerGroup>(options_);
  group_->SetListener(&recorder_);
  group_->Form(1);
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("rank 0 (", refused, ") does not"))) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("rank 1 (", mute, ") does not answer"))) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "within 400ms (--worker_connect_timeout)")) << status;
  close(silent);
}

TEST_F(GrpcWorkerGroupTest, StorePutsReachTheOtherRanksInOrder) {
  ScriptedWorker::Script first = ScriptedWorker::DefaultScript();
  first.puts = {{"a", "1"}, {"b", std::string("\0\xff", 2)}};
  first.expect_puts = 1;
  ScriptedWorker::Script second = ScriptedWorker::DefaultScript();
  second.puts = {{"c", "3"}};
  second.expect_puts = 2;
  MakeGroup({first, second});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  const auto puts = [&](int rank) {
    std::vector<std::pair<std::string, std::string>> result;
    for (const auto& message : workers_[rank]->received()) {
      if (message.has_store_put()) result.emplace_back(message.store_put().key(), message.store_put().value());
    }
    return result;
  };
  EXPECT_EQ(puts(0), second.puts);
  EXPECT_EQ(puts(1), first.puts);
}

TEST_F(GrpcWorkerGroupTest, StoreIsBounded) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.puts = {{"key", std::string(proto::kMaxStoreValueBytes + 1, 'x')}};
  EXPECT_EQ(DownBy(script).code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(GrpcWorkerGroupTest, StoreIsBoundedInAll) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.puts.assign(300, {"key", std::string(proto::kMaxStoreValueBytes, 'x')});
  script.answers_load = false;
  MakeGroup({ScriptedWorker::DefaultScript(), script});
  group_->Form(1);
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(GrpcWorkerGroupTest, RankThatDiesInAStepEndsTheEpochOnce) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.on_step = [](const worker::v1::Step& step, uint32_t rank, ScriptedWorker::Stream* stream) {
    if (step.step() == 3) return Then::kEndSession;
    stream->Write(CorrectDone(step, rank));
    return Then::kContinue;
  };
  MakeGroup({ScriptedWorker::DefaultScript(), script});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  for (uint64_t step = 1; step <= 3; ++step) {
    group_->Send(Plan(1, step));
    if (step < 3) recorder_.AwaitSteps(step);
  }
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.message(), absl::StrCat(Rank(1), ": the all-reduce broke"));
  group_->Send(Plan(1, 4));  // dropped
  // The survivor is let go too.
  EXPECT_TRUE(workers_[0]->WaitIdle(kLong));
  EXPECT_EQ(recorder_.AwaitSteps(2).size(), 2u);
  EXPECT_EQ(recorder_.num_downs(), 1u);
}

TEST_F(GrpcWorkerGroupTest, RankThatHangsMissesTheDeadline) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.on_step = [](const worker::v1::Step&, uint32_t, ScriptedWorker::Stream*) { return Then::kContinue; };
  MakeGroup({ScriptedWorker::DefaultScript(), script});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  const absl::Time sent = absl::Now();
  group_->Send(Plan(1, 1, /*deadline_ms=*/150));
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_GE(absl::Now() - sent, absl::Milliseconds(150));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.message(), absl::StrCat(Rank(1), " did not answer step 1 of epoch 1 within its deadline"));
}

TEST_F(GrpcWorkerGroupTest, StaleRepliesAreDroppedAndCounted) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.on_step = [](const worker::v1::Step& step, uint32_t rank, ScriptedWorker::Stream* stream) {
    worker::v1::RankMessage old = CorrectDone(step, rank);
    old.mutable_done()->set_epoch(step.epoch() - 1);
    stream->Write(old);
    worker::v1::RankMessage early = CorrectDone(step, rank);
    early.mutable_done()->set_step(step.step() + 5);
    stream->Write(early);
    stream->Write(CorrectDone(step, rank));
    stream->Write(CorrectDone(step, rank));
    return Then::kContinue;
  };
  MakeGroup({ScriptedWorker::DefaultScript(), script});
  group_->Form(2);
  recorder_.AwaitFormed(2);
  group_->Send(Plan(2, 1));
  recorder_.AwaitSteps(1);
  group_->Send(Plan(2, 2));
  const std::vector<StepResult> steps = recorder_.AwaitSteps(2);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(recorder_.num_downs(), 0u);
  // Three of step 1 and at least two of step 2; the last one may still be on its way.
  EXPECT_GE(group_->stale_replies(), 5u);
}

TEST_F(GrpcWorkerGroupTest, WrongDigestEndsTheEpoch) {
  ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
  script.on_step = [](const worker::v1::Step& step, uint32_t rank, ScriptedWorker::Stream* stream) {
    worker::v1::RankMessage done = CorrectDone(step, rank);
    done.mutable_done()->set_plan_digest(step.plan_digest() ^ 1);
    stream->Write(done);
    return Then::kContinue;
  };
  MakeGroup({ScriptedWorker::DefaultScript(), script});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  group_->Send(Plan(1, 1));
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::StrContains(status.message(), "rank 1 answered step 1 of epoch 1 with digest")) << status;
  // The other rank may have answered before or after the end.
  EXPECT_GE(group_->stale_replies(), 1u);
}

TEST_F(GrpcWorkerGroupTest, FormsAgainAfterALossAndFencesTheOldEpoch) {
  ScriptedWorker::Script hangs = ScriptedWorker::DefaultScript();
  hangs.on_step = [](const worker::v1::Step&, uint32_t, ScriptedWorker::Stream*) { return Then::kContinue; };
  MakeGroup({ScriptedWorker::DefaultScript(), hangs});
  group_->Form(1);
  recorder_.AwaitFormed(1);
  group_->Send(Plan(1, 1, /*deadline_ms=*/50));
  EXPECT_EQ(recorder_.AwaitDown(1).code(), absl::StatusCode::kDeadlineExceeded);
  workers_[1]->SetScript(ScriptedWorker::DefaultScript());
  group_->Form(2);
  recorder_.AwaitFormed(2);
  // Steps count from 1 again, plans of the old epoch go nowhere.
  group_->Send(Plan(1, 2));
  group_->Send(Plan(2, 1));
  const std::vector<StepResult> steps = recorder_.AwaitSteps(1);
  EXPECT_EQ(steps.back().epoch, 2u);
  EXPECT_EQ(steps.back().step, 1u);
  EXPECT_EQ(workers_[0]->num_sessions(), 2);
  // A formed epoch can be left without a loss, too.
  group_->Form(3);
  recorder_.AwaitFormed(3);
  EXPECT_EQ(recorder_.num_downs(), 1u) << "leaving an epoch is not losing it";
}

TEST_F(GrpcWorkerGroupTest, ANewEpochInterruptsAFormation) {
  ScriptedWorker::Script silent = ScriptedWorker::DefaultScript();
  silent.answers_join = false;
  MakeGroup({silent, silent});
  group_->Form(1);
  const absl::Time limit = absl::Now() + kLong;
  while (workers_[0]->received().empty() && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  for (const auto& worker : workers_) worker->SetScript(ScriptedWorker::DefaultScript());
  group_->Form(2);
  recorder_.AwaitFormed(2);
  EXPECT_EQ(recorder_.num_downs(), 0u);
}

TEST_F(GrpcWorkerGroupTest, StopLetsTheRanksGoAndIsSilent) {
  FormTwo();
  group_->Stop();
  group_->Stop();
  EXPECT_TRUE(workers_[0]->WaitIdle(kLong));
  EXPECT_TRUE(workers_[1]->WaitIdle(kLong));
  EXPECT_EQ(recorder_.num_downs(), 0u);
}

// A child that cannot work: its exit is the reason, not the socket that never came.
TEST_F(GrpcWorkerGroupTest, LocalChildThatExitsIsNamed) {
  const std::string script = absl::StrCat(testing::TempDir(), "/exits.sh");
  std::ofstream(script) << "#!/bin/sh\nexit 7\n";
  chmod(script.c_str(), 0700);
  options_.workers.num_local = 2;
  options_.local.binary = script;
  options_.formation.connect_timeout = kLong;
  group_ = std::make_unique<GrpcWorkerGroup>(options_);
  group_->SetListener(&recorder_);
  group_->Form(1);
  const absl::Status status = recorder_.AwaitDown(1);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(absl::StrContains(status.message(), "exited with code 7")) << status;
  EXPECT_TRUE(absl::StartsWith(status.message(), "rank ")) << status;
}

}  // namespace
}  // namespace quire::cluster
