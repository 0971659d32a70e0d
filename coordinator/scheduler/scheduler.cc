// The scheduler. See scheduler.h.
#include "coordinator/scheduler/scheduler.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"
#include "coordinator/scheduler/preemption.h"

namespace quire::scheduler {

using request::Sequence;
using request::SequenceGroup;

namespace {

// Cost of a prompt's token for its tenant (beside kGeneratedCost).
constexpr double kPromptCost = 1;

RankSampling MakeRankSampling(const Sequence& sequence, const std::vector<int32_t>& eos_ids) {
  const request::SamplingParams& p = sequence.group->request.params;
  RankSampling out;
  out.seed = p.seed;
  out.choice = sequence.index;
  out.temperature = p.temperature;
  out.top_p = p.top_p;
  out.top_k = p.top_k;
  out.min_p = p.min_p;
  out.repetition_penalty = p.repetition_penalty;
  out.frequency_penalty = p.frequency_penalty;
  out.presence_penalty = p.presence_penalty;
  out.min_tokens = p.min_tokens;
  out.num_logprobs = sequence.group->rank_logprobs();
  out.given_tokens = sequence.beam != nullptr;
  if (out.given_tokens) out.temperature = 0;  // its draw counts for nothing: the cheapest one
  out.logit_bias = p.logit_bias;
  out.bad_words = p.bad_words;
  out.allowed_token_ids = p.allowed_token_ids;
  if (sequence.wants_prompt_rows()) {
    out.prompt_rows = PromptRows{static_cast<uint32_t>(sequence.group->num_prompt_rows + 1),
                                 static_cast<uint32_t>(p.prompt_logprobs)};
  }
  if (p.min_tokens > 0) {
    out.banned_until_min = eos_ids;
    out.banned_until_min.insert(out.banned_until_min.end(), p.stop_token_ids.begin(), p.stop_token_ids.end());
  }
  return out;
}

NewSequence MakeNewSequence(const Sequence& sequence, const std::vector<int32_t>& eos_ids) {
  NewSequence fresh;
  fresh.seq = static_cast<uint32_t>(sequence.seq);
  const std::vector<int32_t>& prompt = sequence.group->request.prompt_ids;
  fresh.token_ids.reserve(prompt.size() + sequence.output.size());
  fresh.token_ids = prompt;
  fresh.token_ids.insert(fresh.token_ids.end(), sequence.output.begin(), sequence.output.end());
  fresh.prompt_len = static_cast<uint32_t>(prompt.size());
  fresh.sampling = MakeRankSampling(sequence, eos_ids);
  return fresh;
}

// One token is pending on the ranks and its successor is wanted. Before the fork even a last single token of the
// prompt is a prefill item, because forks hang on those.
bool DecodeReady(const Sequence& s) {
  return s.group->forked && s.seq >= 0 && s.num_computed > 0 && s.num_remaining() == 1 && s.wants_sample();
}

// Catches up on tokens instead of decoding.
bool Prefilling(const Sequence& s) { return !s.group->forked || s.seq < 0 || s.num_remaining() > 1; }

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, const ReplicaInfo& replica)
    : options_(options),
      eos_token_ids_(replica.eos_token_ids),
      kv_(options.kv, replica.device_blocks, replica.host_blocks, replica.block_size, replica.attention_window),
      waiting_(options.policy),
      drafts_(options.spec) {
  CHECK_GE(options_.max_num_batched_tokens, options_.max_num_seqs) << "every running sequence must fit into one step";
  for (int64_t i = options_.max_num_seqs - 1; i >= 0; --i) free_seqs_.push_back(static_cast<uint32_t>(i));
}

// What was computed before and is computed again (after a preemption or a loss) is on the house.
void Scheduler::Charge(Sequence* s, double cost) {
  if (s->num_computed <= s->num_charged) return;
  s->num_charged = s->num_computed;
  TenantCounters::Charge(s->group->service, cost, s->group->request.weight);
}

int64_t Scheduler::WorstCaseBlocks(const SequenceGroup& group) const {
  // The last token is never computed. After a preemption the choices do not share their prompt.
  const int64_t tokens = group.prompt_len() + group.request.params.max_tokens - 1;
  return static_cast<int64_t>(group.sequences.size()) * kv_.MostBlocksFor(tokens, options_.max_num_batched_tokens);
}

void Scheduler::Add(SequenceGroup* group) {
  group->service = tenants_.Arrive(group->request.tenant);
  has_suspects_ |= group->runs_alone();
  kv_.Hold(group);
  waiting_.Add(group);
}

uint32_t Scheduler::TakeSeq() {
  CHECK(!free_seqs_.empty()) << "more than " << options_.max_num_seqs << " sequences on the ranks";
  const uint32_t seq = free_seqs_.back();
  free_seqs_.pop_back();
  return seq;
}

void Scheduler::Release(Sequence* sequence, std::vector<uint32_t>* finished) {
  kv_.Release(sequence);
  Leave(sequence, finished);
}

void Scheduler::Leave(Sequence* sequence, std::vector<uint32_t>* finished) {
  if (sequence->host_blocks.empty()) kv_.Release(sequence);
  LeaveRanks(sequence, finished);
}

void Scheduler::LeaveRanks(Sequence* sequence, std::vector<uint32_t>* finished) {
  if (sequence->seq < 0) return;
  bool known = true;
  if (sequence->beam != nullptr) {
    known = std::exchange(sequence->beam->branch_of, -1) < 0;
    sequence->beam->owes_token = false;
  }
  if (known) finished->push_back(static_cast<uint32_t>(sequence->seq));
  free_seqs_.push_back(static_cast<uint32_t>(sequence->seq));
  sequence->seq = Sequence::kNotOnRanks;
}

void Scheduler::FinishSequence(Sequence* sequence) {
  CHECK(!sequence->finished);
  sequence->finished = true;
  Release(sequence, &finished_);
  if (Planted(Defect::kPlaceLeaksAtFinish) && sequence->index > 0) return;
  if (!waiting_.Contains(*sequence->group)) --num_seqs_;
}

void Scheduler::Branch(const Sequence& parent, Sequence* child) {
  CHECK(!child->active && child->seq < 0) << "a place of " << child->group->request.request_id << " is taken";
  child->active = true;
  kv_.Fork(parent, child);
  EnterAsBranch(parent, child);
}

int64_t Scheduler::Replace(const Sequence& parent, Sequence* child) {
  CHECK(child->active && child->in_flight == 0) << child->group->request.request_id;
  Hit(Probe::kBeamGivenUp);
  if (Planted(Defect::kDroppedBeamKeepsBlocks)) child->blocks.clear();
  LeaveRanks(child, &finished_);
  const int64_t common = kv_.Refork(parent, child);
  EnterAsBranch(parent, child);
  return common;
}

void Scheduler::EnterAsBranch(const Sequence& parent, Sequence* child) {
  CHECK_LT(parent.beam->branch_of, 0) << "a beam branches before the ranks have it";
  child->num_charged = parent.num_charged;
  Hit(Probe::kBeamBranches);
  Hit(Probe::kBeamsBranchSwappedOut, !parent.host_blocks.empty());
  if (parent.seq < 0) return;
  child->seq = static_cast<int32_t>(TakeSeq());
  child->beam->branch_of = parent.seq;
}

void Scheduler::Drop(Sequence* beam) {
  CHECK_EQ(beam->in_flight, 0) << beam->group->request.request_id;
  Hit(Probe::kBeamGivenUp);
  if (!Planted(Defect::kDroppedBeamKeepsBlocks)) Release(beam, &finished_);
  beam->active = false;
  beam->keys.clear();
}

// All branches and tokens of a group at once: a branch copies its parent without the parent's newest token.
void Scheduler::TellBeams(SequenceGroup* group) {
  for (Sequence* s : group->beams) {
    if (s->beam->branch_of < 0) continue;
    plan_->branches.push_back({static_cast<uint32_t>(s->beam->branch_of), static_cast<uint32_t>(s->seq)});
    s->beam->branch_of = -1;
  }
  for (Sequence* s : group->beams) {
    if (std::exchange(s->beam->owes_token, false) && !Planted(Defect::kBeamTokenNotGiven)) {
      plan_->given.push_back({static_cast<uint32_t>(s->seq), s->output.back()});
    }
  }
}

void Scheduler::Remove(SequenceGroup* group) {
  for (Sequence& s : group->sequences) {
    if (!Planted(Defect::kCancelKeepsReference) || s.index == 0 || s.finished) Release(&s, &finished_);
  }
  if (!Planted(Defect::kHoldOutlivesRequest)) kv_.Unhold(group);
  tenants_.Leave(group->request.tenant);
  group->service = nullptr;
  if (waiting_.Remove(group)) return;
  num_seqs_ -= group->num_unfinished();
  running_.erase(std::find(running_.begin(), running_.end(), group));
}

void Scheduler::Reset(const ReplicaInfo& replica) {
  for (SequenceGroup* group : running_) {
    for (Sequence& s : group->sequences) Release(&s, &finished_);
    num_seqs_ -= group->num_unfinished();
    waiting_.Add(group);
  }
  // What was swapped out is lost with the ranks as well.
  waiting_.ForEach([this](SequenceGroup* group) {
    has_suspects_ |= group->runs_alone();
    for (Sequence& s : group->sequences) {
      Hit(Probe::kLostWhileSwappedOut, !s.host_blocks.empty());
      kv_.Release(&s);
    }
    kv_.Unhold(group);
  });
  running_.clear();
  finished_.clear();  // the new ranks know nothing
  CHECK_EQ(kv_.pool().num_used(), 0) << "blocks leaked";
  CHECK_EQ(num_seqs_, 0);
  kv_ = kv::KvManager(options_.kv, replica.device_blocks, replica.host_blocks, replica.block_size,
                      replica.attention_window);
  waiting_.ForEach([this](SequenceGroup* group) { kv_.Hold(group); });
  eos_token_ids_ = replica.eos_token_ids;
}

bool Scheduler::BuildPlan(absl::Time now, StepPlan* plan, std::vector<Sequence*>* samples) {
  plan_ = plan;
  samples_ = samples;
  samples->clear();
  prefill_samples_.clear();
  prefilled_.clear();
  prompt_chunks_.clear();
  num_scored_ = 0;
  budget_ = options_.max_num_batched_tokens;
  shape_ = {};
  now_ = now;
  preempted_ = false;
  nobody_after_ = running_.size();
  ++build_;
  const int64_t evicted = Hits(Probe::kCachedBlockEvicted);
  const int64_t adopted = Hits(Probe::kFreeBlockRevived) + Hits(Probe::kLiveBlockShared);
  plan->finished.swap(finished_);
  kv_.TakeHostFrees(plan);
  if (options_.preempt_every_steps > 0 && build_ % options_.preempt_every_steps == 0 && !running_.empty() &&
      !Spent(*running_.back(), options_.max_preemptions)) {
    Preempt(running_.size() - 1);
  }
  MakeWayForSuspects();
  PlanDecodes();
  CollectPrefills();
  if (!preempted_) Admit();
  PlanPrefills();
  if (drafts_.enabled()) AddDrafts();
  for (const Sequence* s : prefill_samples_) num_scored_ += s->group->rank_logprobs() >= 0;
  samples->insert(samples->end(), prefill_samples_.begin(), prefill_samples_.end());
  // Only now: within one plan nobody enters with a block that another one is just being given.
  for (Sequence* s : prefilled_) kv_.Publish(s);
  kv_.EndPlan();
  Hit(Probe::kEvictionWhileAdopting, Hits(Probe::kCachedBlockEvicted) > evicted &&
                                         Hits(Probe::kFreeBlockRevived) + Hits(Probe::kLiveBlockShared) > adopted);
  return !plan->decode.empty() || !plan->prefill.empty() || !plan->swap_outs.empty();
}

void Scheduler::PlanDecodes() {
  prefilling_.clear();
  for (size_t i = 0; i < running_.size();) {
    // With thousands of groups this walk waits for memory: what comes soon is fetched now.
    if (i + 8 < running_.size()) running_[i + 8]->FetchAhead();
    if (i + 4 < running_.size()) running_[i + 4]->sequences.front().FetchAhead();
    ready_.clear();
    bool prefilling = false;
    running_[i]->ForEachLive([&](Sequence& s) {
      if (DecodeReady(s)) {
        ready_.push_back(&s);
      } else {
        prefilling |= Prefilling(s);
      }
    });
    if (prefilling) prefilling_.push_back(running_[i]);
    if (ready_.empty() || PlanGroupDecodes(i)) ++i;
  }
}

// The whole group or nothing. False: it had to give way itself.
bool Scheduler::PlanGroupDecodes(size_t index) {
  SequenceGroup* group = running_[index];
  for (Sequence* s : ready_) kv_.LetGoOfUnseen(s);
  const int64_t blocks = kv_.BlocksForOneMore(ready_);
  while (kv_.pool().num_free() < blocks) {
    if (PreemptAfter(index)) continue;
    // It keeps what it has and waits for its neighbours.
    if (Spent(*group, options_.max_preemptions) || (index > 0 && Settling(*group))) {
      Hit(Probe::kWaitsForNeighbours);
      return true;
    }
    Hit(Probe::kPreemptsItself);
    Preempt(index);
    return false;
  }
  if (group->search != nullptr) TellBeams(group);
  ++group->steps_since_resume;
  if (group->rank_logprobs() >= 0) num_scored_ += static_cast<int64_t>(ready_.size());
  for (Sequence* s : ready_) {
    kv_.Grow(s, 1, plan_, nullptr);
    shape_.AddDecode(s->num_computed);
    Charge(s, kGeneratedCost);
    plan_->decode.push_back(static_cast<uint32_t>(s->seq));
    samples_->push_back(s);
    AddSample(s);
  }
  if (!Planted(Defect::kBudgetExceeded)) budget_ -= static_cast<int64_t>(ready_.size());
  group->planned_step = build_;
  return true;
}

// The sequence is on the ranks and draws in this plan.
void Scheduler::AddSample(Sequence* s) {
  ++s->in_flight;
  if (s->constraint == nullptr || Planted(Defect::kMaskForgotten)) return;
  plan_->masks.push_back({static_cast<uint32_t>(s->seq), s->constraint->mask()});
}

int64_t Scheduler::PrefillRemaining(SequenceGroup* group) {
  int64_t tokens = 0;
  group->ForEachLive([&](Sequence& s) {
    if (!Prefilling(s)) return;
    tokens += s.num_remaining();
    // What it will find in the cache is not computed.
    if (s.seq < 0 && s.host_blocks.empty()) {
      tokens -= static_cast<int64_t>(kv_.Match(&s).blocks.size()) * kv_.block_size();
    }
  });
  return tokens;
}

// Who has tokens to catch up on, and how many of them this step may take.
void Scheduler::CollectPrefills() {
  prefills_.clear();
  PrefillDemand demand;
  for (SequenceGroup* group : prefilling_) {
    const auto at = PlaceOf(*group);
    if (at == running_.end() || *at != group) continue;  // it gave way to an older one
    const int64_t remaining = PrefillRemaining(group);
    if (remaining == 0) continue;
    prefills_.push_back({group, remaining, 0});
    group->ForEachLive([&](const Sequence& s) { demand.start = std::max(demand.start, s.num_computed); });
  }
  demand.num_prompts = static_cast<int64_t>(prefills_.size()) + num_crowded_out_;
  const int64_t limit = budget_;
  budget_ = PrefillBudget(cost_of_step_, options_.target_step_ms, shape_, demand, limit);
  Hit(Probe::kTimeBoundsPrefill, budget_ < limit);
}

void Scheduler::PlanPrefills() {
  SharePrefill(budget_, &prefills_);
  Hit(Probe::kPromptsShareStep,
      prefills_.size() > 1 && prefills_[0].share < prefills_[0].remaining && prefills_[1].share > 0);
  for (const PrefillShare& prefill : prefills_) {
    if (prefill.share == 0) continue;
    const auto at = PlaceOf(*prefill.group);
    if (at == running_.end() || *at != prefill.group) continue;  // it gave way to an older one
    if (!PlanGroupPrefill(static_cast<size_t>(at - running_.begin()), prefill.share)) return;
  }
}

bool Scheduler::PlanGroupPrefill(size_t index, int64_t share) {
  bool room = true;
  running_[index]->ForEachLive([&](Sequence& s) {
    if (!room || share == 0 || !Prefilling(s) || s.num_remaining() == 0) return;
    const int64_t tokens = PlanPrefill(&s, index, share);
    room = tokens > 0;
    share -= tokens;
  });
  return room;
}

bool Scheduler::Restore(Sequence* s, size_t index) {
  if (s->host_blocks.empty()) {
    kv_.Adopt(kv_.Match(s), s);
    return true;
  }
  // Room for what it had and for the token that comes next.
  const int64_t needed = kv_.BlocksFor(s->num_computed + 1) - s->num_unseen;
  while (kv_.pool().num_free() < needed) {
    if (!PreemptAfter(index)) return false;
  }
  Hit(Probe::kSwapInAfterSiblingFinished,
      s->group->num_unfinished() < static_cast<int64_t>(s->group->sequences.size()));
  kv_.SwapIn(s, plan_);
  return true;
}

NewSequence* Scheduler::Enter(Sequence* s) {
  s->seq = static_cast<int32_t>(TakeSeq());
  plan_->new_sequences.push_back(MakeNewSequence(*s, eos_token_ids_));
  NewSequence* fresh = &plan_->new_sequences.back();
  s->first_prompt_row = fresh->sampling.prompt_rows.has_value() ? fresh->sampling.prompt_rows->first : 0;
  fresh->block_ids = s->blocks;
  fresh->num_computed = static_cast<uint32_t>(s->num_computed);
  if (s->group->first_scheduled != absl::InfiniteFuture()) return fresh;  // it comes back
  s->group->first_scheduled = now_;
  cache_queried_tokens_ += s->num_known();
  cache_hit_tokens_ += s->num_computed;
  s->group->cached_tokens = s->num_computed;
  return fresh;
}

int64_t Scheduler::PlanPrefill(Sequence* s, size_t index, int64_t limit) {
  const bool swapped = !s->host_blocks.empty();
  if (s->seq >= 0) {
    kv_.LetGoOfUnseen(s);
  } else if (!Restore(s, index)) {
    return 0;
  }
  int64_t tokens = std::min(limit, s->num_remaining());
  while (kv_.TokensThatFit(*s, kv_.pool().num_free()) < tokens) {
    if (PreemptAfter(index)) continue;
    tokens = kv_.TokensThatFit(*s, kv_.pool().num_free());
    break;
  }
  if (tokens == 0) {
    CHECK(!swapped) << "Restore left no room for " << s->group->request.request_id;
    if (s->seq < 0) kv_.Release(s);
    return 0;
  }
  if (s->group->search != nullptr) TellBeams(s->group);
  NewSequence* fresh = s->seq < 0 ? Enter(s) : nullptr;
  shape_.AddPrefill(s->num_computed, tokens);
  kv_.Grow(s, tokens, plan_, fresh);
  Charge(s, kPromptCost * static_cast<double>(s->num_computed - std::max(s->num_charged, s->num_computed - tokens)));
  prefilled_.push_back(s);
  if (Planted(Defect::kPublishedInSamePlan)) kv_.Publish(s);
  Hit(Probe::kReplayAfterFork, s->group->forked && fresh != nullptr && !swapped);
  Hit(Probe::kBeamsReplayed, s->group->beams.size() > 1 && fresh != nullptr && !swapped);
  const bool sample = s->num_remaining() == 0 && s->wants_sample();
  Hit(Probe::kChunkedPrefill, !sample);
  Hit(Probe::kForkInLastChunk, sample && !s->group->forked && fresh == nullptr && s->group->sequences.size() > 1);
  plan_->prefill.push_back({static_cast<uint32_t>(s->seq), static_cast<uint32_t>(tokens), sample});
  NotePromptRows(s, tokens);
  s->group->planned_step = build_;
  if (sample) {
    prefill_samples_.push_back(s);
    AddSample(s);
    if (!s->group->forked) PlanFork(s);
  }
  return tokens;
}

// The last `num_tokens` computed tokens are in the plan: a row of position p is about token p + 1.
void Scheduler::NotePromptRows(Sequence* s, int64_t num_tokens) {
  if (s->first_prompt_row == 0) return;
  const int64_t begin = std::max<int64_t>(s->first_prompt_row, s->num_computed - num_tokens + 1);
  const int64_t end = std::min(s->group->prompt_len(), s->num_computed + 1);
  if (begin < end) prompt_chunks_.push_back({s->group->id, begin, end - begin});
}

// The prompt is complete: every other choice starts as a fork of the leader and draws its first token from the same
// row of logits.
void Scheduler::PlanFork(Sequence* leader) {
  SequenceGroup* group = leader->group;
  group->forked = true;
  for (Sequence& child : group->sequences) {
    if (&child == leader) continue;
    child.seq = static_cast<int32_t>(TakeSeq());
    kv_.Fork(*leader, &child);
    const uint32_t choice = Planted(Defect::kForkDrawsAsLeader) ? leader->index : child.index;
    plan_->forks.push_back({static_cast<uint32_t>(leader->seq), static_cast<uint32_t>(child.seq), choice});
    prefill_samples_.push_back(&child);
    AddSample(&child);
  }
}

}  // namespace quire::scheduler
