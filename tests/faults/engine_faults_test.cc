// The coordinator's whole inner house over sockets: engine thread, core, codec, gRPC worker group, and two ranks in
// this process that compute with the simulation's hash model. Ranks die in a step, hang past its deadline, answer
// twice or late, by a seed; every request must end with exactly the tokens and log-probs that it has without faults,
// and no block may stay in use.
//
// The hash model makes a wrong replay show: a token depends on every token before it through the cache's content.
#include <glog/logging.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "coordinator/cluster/grpc_worker_group.h"
#include "coordinator/cluster/scripted_worker.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/engine/sim_replica.h"
#include "proto/plan_digest.h"

namespace quire {
namespace {

using cluster::ScriptedWorker;
using engine::SimReplica;

constexpr int kNumRanks = 2;
constexpr int64_t kNumBlocks = 14;      // too few for all requests at once: preemption is in play
constexpr int64_t kNumHostBlocks = 50;  // as ScriptedWorker offers
constexpr int64_t kBlockSize = 16;
constexpr int32_t kVocab = 97;
constexpr absl::Duration kLong = absl::Seconds(60);

enum class Kind { kNone, kDies, kHangs, kAnswersTwice, kAnswersLate };

// What goes wrong in one epoch.
struct Fault {
  Kind kind = Kind::kNone;
  uint32_t rank = 0;
  uint64_t step = 0;
};

// Plays one rank: computes every step, unless its epoch's fault says otherwise. Epochs are counted from 0 in the order
// of their first step.
class SimRank {
 public:
  SimRank(uint32_t rank, std::vector<Fault> faults) : rank_(rank), faults_(std::move(faults)) {}

  ScriptedWorker::Then OnStep(const worker::v1::Step& step, ScriptedWorker::Stream* stream) {
    CHECK_EQ(proto::PlanDigest(step), step.plan_digest());
    absl::MutexLock lock(&mu_);
    auto [replica, is_new] = epochs_.try_emplace(step.epoch(), kNumBlocks, kBlockSize, kVocab, kNumHostBlocks);
    const size_t ordinal = static_cast<size_t>(std::distance(epochs_.begin(), replica));
    Fault fault = ordinal < faults_.size() ? faults_[ordinal] : Fault();
    if (fault.rank != rank_ || fault.step != step.step()) fault.kind = Kind::kNone;
    if (fault.kind == Kind::kDies) return ScriptedWorker::Then::kEndSession;
    const worker::v1::RankMessage reply = Compute(step, &replica->second);
    if (fault.kind == Kind::kHangs) return ScriptedWorker::Then::kContinue;
    if (fault.kind == Kind::kAnswersLate) absl::SleepFor(absl::Milliseconds(20));
    stream->Write(reply);
    if (fault.kind == Kind::kAnswersTwice) stream->Write(reply);
    return ScriptedWorker::Then::kContinue;
  }

 private:
  worker::v1::RankMessage Compute(const worker::v1::Step& step, SimReplica* replica) const {
    const StepResult result = replica->Run(cluster::PlanOf(step));
    worker::v1::RankMessage message;
    worker::v1::Done* done = message.mutable_done();
    done->set_epoch(step.epoch());
    done->set_step(step.step());
    done->set_plan_digest(step.plan_digest());
    done->set_rank(rank_);
    done->set_device_blocks_total(kNumBlocks);
    done->set_device_blocks_used(static_cast<uint32_t>(replica->blocks_used()));
    if (rank_ != 0) return message;
    for (const int32_t token : result.tokens) done->add_tokens(static_cast<uint32_t>(token));
    for (const TokenLogprobs& logprobs : result.logprobs) done->add_logprobs()->set_sampled(logprobs.sampled);
    return message;
  }

  const uint32_t rank_;
  const std::vector<Fault> faults_;  // by epoch
  absl::Mutex mu_;
  std::map<uint64_t, SimReplica> epochs_;
};

// What a client has got of its request.
struct Output {
  std::vector<std::vector<int32_t>> tokens;  // by choice
  std::vector<std::vector<float>> logprobs;
  absl::Status status;
  bool ended = false;

  bool operator==(const Output& other) const {
    return tokens == other.tokens && logprobs == other.logprobs && status == other.status && ended == other.ended;
  }
};

class Sink final : public engine::RequestSink {
 public:
  Sink(absl::Mutex* mu, Output* output) : mu_(mu), output_(output) {}
  void OnDelta(const engine::ChoiceDelta& delta) override {
    absl::MutexLock lock(mu_);
    CHECK(!output_->ended);
    std::vector<int32_t>& tokens = output_->tokens.at(delta.index);
    CHECK_EQ(delta.offset, tokens.size()) << "a gap or a repetition in the stream";
    for (const engine::TokenDelta& token : delta.tokens) {
      tokens.push_back(token.token);
      output_->logprobs.at(delta.index).push_back(token.logprobs.sampled);
    }
  }
  void OnEnd(const absl::Status& status, const engine::RequestTiming&) override {
    absl::MutexLock lock(mu_);
    CHECK(!output_->ended) << "ended twice";
    output_->ended = true;
    output_->status = status;
  }

 private:
  absl::Mutex* const mu_;
  Output* const output_;
};

std::vector<request::Request> MakeRequests(std::mt19937* random) {
  std::vector<request::Request> requests(6);
  for (size_t i = 0; i < requests.size(); ++i) {
    request::Request& request = requests[i];
    request.request_id = absl::StrCat("request-", i);
    request.prompt_ids.resize(1 + (*random)() % 30);
    for (int32_t& id : request.prompt_ids) id = static_cast<int32_t>((*random)() % kVocab);
    request.params.seed = (*random)();
    request.params.max_tokens = 20 + (*random)() % 60;
    request.params.n = (*random)() % 4 == 0 ? 2 : 1;
    request.params.logprobs = 0;
  }
  return requests;
}

struct Served {
  std::vector<Output> outputs;
  uint64_t stale_replies = 0;
  uint64_t num_losses = 0;
  int64_t num_preemptions = 0;
};

// One replica of scripted ranks, with these faults.
struct ScriptedReplica {
  explicit ScriptedReplica(const std::vector<Fault>& faults) {
    cluster::GrpcWorkerGroupOptions options;
    for (uint32_t rank = 0; rank < kNumRanks; ++rank) {
      ScriptedWorker::Script script = ScriptedWorker::DefaultScript();
      script.loaded.set_device_blocks(kNumBlocks);
      script.loaded.mutable_model()->set_vocab_size(kVocab);
      script.loaded.mutable_model()->set_max_model_len(256);
      script.loaded.mutable_model()->clear_eos_token_ids();
      script.loaded.mutable_model()->add_eos_token_ids(0);
      auto sim = std::make_shared<SimRank>(rank, faults);
      script.on_step = [sim](const worker::v1::Step& step, uint32_t, ScriptedWorker::Stream* stream) {
        return sim->OnStep(step, stream);
      };
      workers.push_back(std::make_unique<ScriptedWorker>(std::move(script)));
      options.workers.addresses.push_back(workers.back()->address());
    }
    group = std::make_unique<cluster::GrpcWorkerGroup>(options);
  }

  std::vector<std::unique_ptr<ScriptedWorker>> workers;
  std::unique_ptr<cluster::GrpcWorkerGroup> group;
};

bool AllFormed(const engine::Replicas& replicas) {
  const std::vector<engine::ReplicaReport> reports = replicas.GetReports();
  return std::all_of(reports.begin(), reports.end(), [](const engine::ReplicaReport& r) { return r.state.formed; });
}

uint64_t SumOfEpochs(const engine::Replicas& replicas) {
  uint64_t sum = 0;
  for (const engine::ReplicaReport& report : replicas.GetReports()) sum += report.state.epoch;
  return sum;
}

// Serves all requests with these faults, by replica.
Served Serve(const std::vector<request::Request>& requests, const std::vector<std::vector<Fault>>& faults) {
  std::vector<std::unique_ptr<ScriptedReplica>> scripted;
  std::vector<cluster::WorkerGroup*> groups;
  for (const std::vector<Fault>& own : faults) {
    scripted.push_back(std::make_unique<ScriptedReplica>(own));
    groups.push_back(scripted.back()->group.get());
  }
  engine::EngineOptions options;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 32;
  options.min_step_deadline = absl::Seconds(1);  // beyond any step here, even on a busy machine
  engine::Replicas replicas(options, groups);
  const absl::Time limit = absl::Now() + kLong;
  while (!AllFormed(replicas) && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  CHECK(AllFormed(replicas));

  Served run;
  run.outputs.resize(requests.size());
  const uint64_t first_epochs = SumOfEpochs(replicas);
  absl::Mutex mu;
  for (size_t i = 0; i < requests.size(); ++i) {
    run.outputs[i].tokens.resize(requests[i].params.n);
    run.outputs[i].logprobs.resize(requests[i].params.n);
    const absl::Status status = replicas.Submit(requests[i], std::make_unique<Sink>(&mu, &run.outputs[i])).status();
    CHECK(status.ok()) << status;
  }
  const auto all_ended = [&] {
    return std::all_of(run.outputs.begin(), run.outputs.end(), [](const Output& output) { return output.ended; });
  };
  {
    absl::MutexLock lock(&mu);
    EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&all_ended), kLong));
  }
  const auto blocks_used = [&] {
    uint32_t used = 0;
    for (const RankUsage& rank : replicas.GetLoads().ranks) used += rank.device_blocks_used;
    return used;
  };
  while (blocks_used() > 0 && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(blocks_used(), 0u) << "blocks stay in use";
  for (const auto& replica : scripted) run.stale_replies += replica->group->stale_replies();
  run.num_losses = SumOfEpochs(replicas) - first_epochs;
  run.num_preemptions = replicas.GetLoads().num_preemptions;
  replicas.Stop(absl::ZeroDuration());
  return run;
}

// Two faults a replica: a request may see two losses and go on, at the third it may be ended as their likely cause.
std::vector<Fault> DrawFaults(std::mt19937* random) {
  std::vector<Fault> faults;
  for (int epoch = 0; epoch < 2; ++epoch) {
    const Kind kind = static_cast<Kind>(1 + (*random)() % 4);
    const uint32_t rank = static_cast<uint32_t>((*random)() % kNumRanks);
    faults.push_back({kind, rank, 1 + (*random)() % 12});
  }
  return faults;
}

bool IsLoss(const Fault& fault) { return fault.kind == Kind::kDies || fault.kind == Kind::kHangs; }

TEST(EngineFaultsTest, OutputsAreTheSameWithFaultsAsWithout) {
  uint64_t num_losses = 0;
  int64_t num_preemptions = 0;
  for (uint32_t seed = 0; seed < 24; ++seed) {
    std::mt19937 random(seed);
    const std::vector<request::Request> requests = MakeRequests(&random);
    const Served calm = Serve(requests, {{}});
    for (const Output& output : calm.outputs)
      ASSERT_TRUE(output.status.ok()) << "seed " << seed << ": " << output.status;
    EXPECT_EQ(calm.stale_replies, 0u);
    const std::vector<Fault> faults = DrawFaults(&random);
    const Served rough = Serve(requests, {faults});
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_TRUE(rough.outputs[i] == calm.outputs[i])
          << "seed " << seed << ", request " << i << " differs after its faults; status " << rough.outputs[i].status;
    }
    EXPECT_TRUE(rough.num_losses > 0 || !IsLoss(faults[0])) << "seed " << seed << ": the fault did not happen";
    num_preemptions += rough.num_preemptions;
    num_losses += rough.num_losses;
    if (HasFailure()) break;
  }
  // Else the seeds prove too little.
  EXPECT_GT(num_losses, 10u);
  EXPECT_GT(num_preemptions, 10);
}

// Requests of a lost replica go on in the other one, which may be lost as well.
TEST(EngineFaultsTest, OutputsAreTheSameOnSeveralReplicas) {
  uint64_t num_losses = 0;
  for (uint32_t seed = 100; seed < 116; ++seed) {
    std::mt19937 random(seed);
    const std::vector<request::Request> requests = MakeRequests(&random);
    const Served calm = Serve(requests, {{}});
    const Served rough = Serve(requests, {{DrawFaults(&random)[0]}, {DrawFaults(&random)[0]}});
    for (size_t i = 0; i < requests.size(); ++i) {
      EXPECT_TRUE(rough.outputs[i] == calm.outputs[i])
          << "seed " << seed << ", request " << i << " differs after its faults; status " << rough.outputs[i].status;
    }
    num_losses += rough.num_losses;
    if (HasFailure()) break;
  }
  EXPECT_GT(num_losses, 8u);
}

}  // namespace
}  // namespace quire
