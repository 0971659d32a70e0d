// Ranks, streams and group. See sim_cluster.h.
#include "coordinator/engine/testing/sim_cluster.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "coordinator/request/probe.h"

namespace quire::engine {
namespace {

constexpr absl::Duration kStallTimeout = absl::Minutes(10);

// Stands for PlanDigest of the wire: differs iff what a rank is told differs in what is checked here.
uint64_t DigestOf(const StepPlan& plan) {
  uint64_t digest = plan.epoch;
  const auto mix = [&digest](uint64_t value) { digest = SimPrefixHash(digest, static_cast<int32_t>(value)); };
  mix(plan.step);
  for (uint32_t seq : plan.finished) mix(seq);
  for (uint32_t seq : plan.decode) mix(seq);
  for (const PrefillItem& item : plan.prefill) mix(item.seq ^ (item.num_tokens << 8));
  return digest;
}

std::string Describe(const StepPlan& plan) {
  std::string text = absl::StrCat("step ", plan.step, ": ", plan.decode.size(), " decodes [",
                                  absl::StrJoin(plan.decode, " "), "], prefills [");
  for (const PrefillItem& item : plan.prefill) {
    absl::StrAppend(&text, " ", item.seq, ":", item.num_tokens, item.sample ? "*" : "");
  }
  absl::StrAppend(&text, " ]");
  for (const NewSequence& s : plan.new_sequences) {
    absl::StrAppend(&text, " new ", s.seq, "(", s.token_ids.size(), " tokens, ", s.num_computed, " computed)");
  }
  for (const ForkItem& f : plan.forks) absl::StrAppend(&text, " fork ", f.parent, "->", f.child);
  for (const BranchItem& b : plan.branches) absl::StrAppend(&text, " branch ", b.parent, "->", b.child);
  for (const DraftItem& d : plan.drafts) absl::StrAppend(&text, " draft ", plan.decode[d.item], "+", d.count);
  if (!plan.finished.empty()) absl::StrAppend(&text, " finished ", absl::StrJoin(plan.finished, " "));
  const std::pair<const char*, const std::vector<std::pair<int32_t, int32_t>>*> moves[] = {
      {"copy", &plan.block_copies}, {"out", &plan.swap_outs}, {"in", &plan.swap_ins}};
  for (const auto& [name, list] : moves) {
    for (const auto& [from, to] : *list) absl::StrAppend(&text, " ", name, " ", from, "->", to);
  }
  return text;
}

}  // namespace

SimCluster::SimCluster(const SimClusterOptions& options, SimLoop* loop, Inbox inbox)
    : options_(options),
      loop_(loop),
      inbox_(std::move(inbox)),
      collector_(options.world_size),
      ranks_(options.world_size) {}

void SimCluster::AddSequenceSeed(uint64_t seed, uint64_t salt, bool poison) {
  salts_[seed] = salt;
  if (poison) poison_.insert(seed);
}

bool SimCluster::TakeFault(double chance) {
  if (options_.faults_left == 0 || !loop_->Chance(chance)) return false;
  --options_.faults_left;
  return true;
}

// --- epochs ---

void SimCluster::Form(uint64_t epoch) {
  CHECK_GT(epoch, epoch_) << "epochs ascend";
  CHECK(state_ == State::kDown) << "epoch " << epoch << " is formed although the group lost no rank";
  const bool first = epoch_ == 0;
  epoch_ = epoch;
  state_ = State::kForming;
  ++stats_.epochs;
  old_results_ = std::move(results_);
  results_.clear();
  streams_.clear();
  // Ranks join one after the other; from then on they fence older epochs. Those that died are started again.
  absl::Duration longest;
  for (int r = 0; r < options_.world_size; ++r) {
    const absl::Duration joins = loop_->Delay(5);
    longest = std::max(longest, joins);
    loop_->After(joins, [this, r, epoch] { ranks_[r].epoch = std::max(ranks_[r].epoch, epoch); });
    streams_.push_back(std::make_shared<Stream>(Stream{epoch, r, loop_->now(), loop_->now()}));
  }
  if (options_.never_forms || (!first && TakeFault(options_.formation_fault))) {
    const bool stalls = loop_->Chance(0.2);
    Hit(stalls ? Probe::kFormationStalled : Probe::kFormationFailed);
    const absl::Duration after = stalls ? kStallTimeout : loop_->Delay(50);
    loop_->After(after, [this, epoch, stalls] {
      Down(epoch, stalls ? absl::DeadlineExceededError("rank 0 did not load the model")
                         : absl::UnavailableError("a rank does not accept connections"));
    });
    return;
  }
  loop_->After(longest + loop_->Delay(200), [this, epoch] { Formed(epoch); });
}

void SimCluster::Formed(uint64_t epoch) {
  if (epoch != epoch_ || state_ != State::kForming) return;
  SimModel& model = options_.model;
  if (stats_.epochs > 1 && loop_->Chance(0.2)) {  // less memory is free than last time
    model.num_blocks = std::max<int64_t>(6, model.num_blocks - loop_->Uniform(0, 8));
  }
  for (Rank& rank : ranks_) {
    rank.dead = false;
    rank.free_at = loop_->now();
    rank.last = {};
    rank.replica = std::make_unique<SimReplica>(model.num_blocks, model.block_size, model.vocab, model.num_host_blocks,
                                                model.window);
    rank.replica->set_salts(&salts_);
  }
  state_ = State::kFormed;
  collector_.Reset(epoch);
  deadlines_.clear();
  seed_of_seq_.clear();
  ReplicaInfo info;
  info.epoch = epoch;
  info.vocab_size = model.vocab;
  info.max_model_len = 1000;
  info.eos_token_ids = {0};
  info.device_blocks = model.num_blocks;
  info.block_size = static_cast<int32_t>(model.block_size);
  info.host_blocks = model.num_host_blocks;
  info.attention_window = static_cast<int32_t>(model.window);
  loop_->Trace("group: epoch ", epoch, " formed, ", model.num_blocks, " blocks of ", model.block_size);
  inbox_(ReplicaFormedEvent{info});
}

void SimCluster::Down(uint64_t epoch, const absl::Status& reason) {
  if (state_ == State::kDown || epoch != epoch_) return;
  state_ = State::kDown;
  deadlines_.clear();
  ++stats_.losses;
  loop_->Trace("group: epoch ", epoch, " is lost: ", reason.message());
  inbox_(ReplicaDownEvent{epoch, reason});
}

// --- steps on their way ---

// What a rank refuses by its limits (D1), whatever the tables say.
void SimCluster::CheckPlan(const StepPlan& plan) const {
  CHECK_LE(plan.num_tokens(), options_.limits.max_num_batched_tokens) << "step " << plan.step << " exceeds its budget";
  for (const NewSequence& s : plan.new_sequences) CHECK_LT(s.seq, options_.limits.max_num_seqs);
  for (const ForkItem& f : plan.forks) CHECK_LT(f.child, options_.limits.max_num_seqs);
  for (const BranchItem& b : plan.branches) CHECK_LT(b.child, options_.limits.max_num_seqs);
}

void SimCluster::Send(const StepPlan& plan) {
  if (state_ != State::kFormed || plan.epoch != epoch_) return;
  CheckPlan(plan);
  ++stats_.steps;
  stats_.tokens += plan.num_tokens();
  stats_.forks += static_cast<int64_t>(plan.forks.size());
  stats_.copies += static_cast<int64_t>(plan.block_copies.size());
  if (loop_->traces()) loop_->Trace("core: epoch ", plan.epoch, " ", Describe(plan));
  auto sent = std::make_shared<SentPlan>();
  sent->plan = plan;
  sent->digest = DigestOf(plan);
  sent->deadline = loop_->now() + absl::Milliseconds(plan.deadline_ms);
  cluster::ExpectedStep expected{plan.epoch, plan.step, sent->digest, static_cast<size_t>(plan.num_samples()), {}};
  for (const DraftItem& d : plan.drafts) expected.drafts.push_back(d.count);
  collector_.Expect(expected);
  deadlines_.push_back({plan.step, sent->deadline});
  for (const StreamPtr& stream : streams_) {
    stream->down_at = std::max(stream->down_at, loop_->now() + loop_->Delay(options_.network_ms));
    loop_->At(stream->down_at, [this, stream, sent] { Receive(stream, sent); });
  }
  RepeatOldResult(plan);
}

// What an older epoch queued at the listener may be found there at any time (G2).
void SimCluster::RepeatOldResult(const StepPlan& plan) {
  if (plan.step <= old_results_.size() && loop_->Chance(0.3)) {
    loop_->After(loop_->Delay(options_.step_ms),
                 [this, old = old_results_[plan.step - 1]] { inbox_(StepDoneEvent{old}); });
  }
  if (!results_.empty() && loop_->Chance(0.01)) {
    loop_->After(loop_->Delay(options_.step_ms), [this, old = results_.back()] { inbox_(StepDoneEvent{old}); });
  }
}

absl::Time SimCluster::NextDeadline() const {
  return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.front().time;
}

void SimCluster::CheckDeadline() {
  if (loop_->now() < NextDeadline()) return;
  const std::vector<int> late = collector_.LateRanks();
  CHECK(!late.empty()) << "step " << deadlines_.front().step << " is late and no rank is";
  Hit(Probe::kStepDeadlineMissed);
  Down(epoch_, absl::DeadlineExceededError(absl::StrCat("rank ", late[0], " did not answer")));
}

// --- on a rank ---

bool SimCluster::ComputesPoison(const StepPlan& plan) {
  for (const NewSequence& s : plan.new_sequences) seed_of_seq_[s.seq] = s.sampling.seed;
  for (const BranchItem& b : plan.branches) seed_of_seq_[b.child] = seed_of_seq_[b.parent];
  for (const ForkItem& f : plan.forks) seed_of_seq_[f.child] = seed_of_seq_[f.parent];
  if (poison_.empty()) return false;
  const auto kills = [this](uint32_t seq) { return poison_.count(seed_of_seq_[seq]) > 0; };
  return std::any_of(plan.decode.begin(), plan.decode.end(), kills);
}

// Whether the rank is gone instead of computing the step.
bool SimCluster::Dies(const StreamPtr& stream, const SentPlan& sent) {
  const bool poisoned = ComputesPoison(sent.plan);
  if (!poisoned && !TakeFault(options_.rank_fault)) return false;
  ranks_[stream->rank].dead = true;
  const bool seen = poisoned || loop_->Chance(0.7);
  loop_->Trace("rank ", stream->rank, ": dies at step ", sent.plan.step, seen ? "" : " without a sign");
  Hit(seen ? Probe::kStreamReset : Probe::kDiedUnseen);
  if (seen) {
    loop_->After(loop_->Delay(5),
                 [this, epoch = stream->epoch] { Down(epoch, absl::UnavailableError("a rank's stream ended")); });
  }
  return true;
}

void SimCluster::Receive(const StreamPtr& stream, const PlanPtr& sent) {
  Rank& rank = ranks_[stream->rank];
  if (stream->epoch != rank.epoch) return Hit(Probe::kFencedPlan);
  if (rank.dead || Dies(stream, *sent)) return;
  StepResult result = rank.replica->Run(sent->plan);
  const double per_token = options_.step_ms / 100;
  rank.free_at = std::max(rank.free_at, loop_->now()) + loop_->Delay(options_.step_ms) +
                 absl::Milliseconds(per_token * static_cast<double>(sent->plan.num_tokens()));
  cluster::RankReply reply;
  reply.epoch = sent->plan.epoch;
  reply.step = sent->plan.step;
  reply.digest = sent->digest;
  reply.rank = static_cast<uint32_t>(stream->rank);
  reply.usage = result.ranks[0];
  reply.usage.exec_us = static_cast<uint32_t>(options_.step_ms * 1000);
  reply.usage.swap_us = static_cast<uint32_t>(10 * (sent->plan.swap_outs.size() + sent->plan.swap_ins.size()));
  if (stream->rank == 0) {
    reply.accepted = std::move(result.accepted);
    reply.prompt_logprobs = std::move(result.prompt_logprobs);
    reply.tokens = std::move(result.tokens);
    reply.logprobs = std::move(result.logprobs);
  }
  if (TakeFault(options_.rank_fault)) {  // it hangs, and goes on when nobody waits any more
    loop_->Trace("rank ", stream->rank, ": hangs in step ", reply.step);
    rank.free_at = std::max(rank.free_at, sent->deadline) + loop_->Delay(500);
    Hit(Probe::kHungThenAnswered);
  }
  SpoilAndAnswer(stream, rank.free_at, reply);
  rank.last = std::move(reply);
}

void SimCluster::SpoilAndAnswer(const StreamPtr& stream, absl::Time at, const cluster::RankReply& reply) {
  const Rank& rank = ranks_[stream->rank];
  // Dropped and without effect: repeats of this reply or the last, replies to other epochs or to later steps.
  if (loop_->Chance(options_.bad_reply)) {
    cluster::RankReply extra = rank.last.step > 0 && loop_->Chance(0.5) ? rank.last : reply;
    const int64_t kind = loop_->Uniform(0, 3);
    if (kind == 1) extra.epoch -= 1;
    if (kind == 2) extra.step = reply.step + static_cast<uint64_t>(loop_->Uniform(2, 3));
    Hit(kind == 1 ? Probe::kReplyOfOldEpoch : kind == 2 ? Probe::kReplyTooEarly : Probe::kReplyRepeated);
    const bool before = kind != 0 && kind != 3;
    if (before) Answer(stream, at, extra);
    Answer(stream, at, reply);
    if (!before) Answer(stream, at, std::move(extra));
    return;
  }
  // Contradictions end the epoch.
  if (!TakeFault(options_.bad_reply)) return Answer(stream, at, reply);
  cluster::RankReply wrong = reply;
  const int64_t kind = loop_->Uniform(0, stream->rank == 0 ? 2 : 1);
  if (kind == 0) wrong.digest ^= 1;
  if (kind == 1) wrong.rank += 1;
  if (kind == 2) wrong.tokens.push_back(1);
  Hit(kind == 0 ? Probe::kDigestDiffers : kind == 1 ? Probe::kAnsweredAsOtherRank : Probe::kWrongTokenCount);
  Answer(stream, at, std::move(wrong));
}

void SimCluster::Answer(const StreamPtr& stream, absl::Time at, cluster::RankReply reply) {
  stream->up_at = std::max(stream->up_at, at + loop_->Delay(options_.network_ms));
  loop_->At(stream->up_at,
            [this, stream, reply = std::move(reply)]() mutable { HandleDone(stream, std::move(reply)); });
}

// --- in the group ---

void SimCluster::HandleDone(const StreamPtr& stream, cluster::RankReply reply) {
  if (state_ != State::kFormed || stream->epoch != epoch_) {
    ++stats_.dropped;
    return;
  }
  absl::StatusOr<std::optional<StepResult>> result = collector_.Add(stream->rank, std::move(reply));
  if (!result.ok()) return Down(stream->epoch, result.status());
  if (!result->has_value()) return;
  CHECK(!deadlines_.empty());
  CHECK_EQ(deadlines_.front().step, (*result)->step) << "results out of order";
  deadlines_.pop_front();
  StepResult& done = **result;
  CHECK_EQ(results_.size() + 1, done.step);
  results_.push_back(done);
  inbox_(StepDoneEvent{std::move(done)});
}

void SimCluster::CheckIdle() const {
  if (state_ != State::kFormed) return;
  CHECK(deadlines_.empty()) << "a step is not answered";
  for (const Rank& rank : ranks_) {
    if (rank.dead) continue;
    CHECK_EQ(rank.replica->num_sequences(), 0) << "the ranks keep sequences";
    CHECK_EQ(rank.replica->host_blocks_used(), 0) << "the ranks keep host blocks";
  }
}

}  // namespace quire::engine
