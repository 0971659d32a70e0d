// Decides what the next step computes: continuous batching, chunked prefill within a budget in time, preemption by
// swap or recompute. Pure: no clock, thread or I/O; engine thread only.
//
// One rule for prefill and decode: a sequence's num_computed chases num_known. Order of a plan: running decodes, then
// who waits is admitted while the rest of the step has room for it, then prefills (prefill_budget.h says how much of
// which).
// Invariants:
//   D1  A plan has at most max_num_batched_tokens tokens, and at most max_num_seqs sequences live on the ranks. Every
//       plan with work to catch up on takes at least one token of it.
//   D2  Running and waiting groups are each in the order of the policy, before them those that were preempted
//       max_preemptions times; a preempted group waits at its place by arrival.
//   D3  A group that has an item in the plan being built is not preempted by that plan.
//   D4  The first running group always gets what it needs (WorstCaseBlocks was checked at the door), so that the system
//       makes progress, and nobody is preempted more than max_preemptions times: preemption.h has the proof.
//   D5  A group under suspicion (SequenceGroup::runs_alone) runs with no other beside it.
#ifndef QUIRE_COORDINATOR_SCHEDULER_SCHEDULER_H_
#define QUIRE_COORDINATOR_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/kv/kv_manager.h"
#include "coordinator/request/probe.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/draft_planner.h"
#include "coordinator/scheduler/prefill_budget.h"
#include "coordinator/scheduler/step_cost.h"
#include "coordinator/scheduler/step_plan.h"
#include "coordinator/scheduler/tenant_counters.h"
#include "coordinator/scheduler/waiting_queue.h"

namespace quire::scheduler {

struct SchedulerOptions {
  int64_t max_num_seqs = 256;
  int64_t max_num_batched_tokens = 2048;
  Policy policy = Policy::kFcfs;
  PreemptionMode preemption_mode = PreemptionMode::kAuto;
  int64_t max_logit_rows = 0;  // of one step; 0 = max_num_seqs
  spec::SpecOptions spec;
  kv::KvOptions kv;
  int64_t target_step_ms = kNoTarget;  // or kAutoTarget; see prefill_budget.h
  int64_t max_preemptions = 8;         // of one request; see preemption.h
  int64_t preempt_every_steps = 0;  // testing aid: the last running group gives way at every so many plans; 0 = never
};

class Scheduler {
 public:
  // Requires: max_num_batched_tokens >= max_num_seqs.
  Scheduler(const SchedulerOptions& options, const ReplicaInfo& replica);

  // Blocks that the group may need at most, alone on the replica. What exceeds pool().num_total() can never run.
  int64_t WorstCaseBlocks(const request::SequenceGroup& group) const;

  // A request has arrived.
  void Add(request::SequenceGroup* group);

  // Fills the empty plan and lists, in batch order, the sequences that will draw a token. Returns false if there is
  // nothing to compute or to move; then the plan holds at most what has ended (the ranks shall let go of it).
  bool BuildPlan(absl::Time now, StepPlan* plan, std::vector<request::Sequence*>* samples);

  // Prompt positions whose log-probs the plan built last brings, in batch order.
  struct PromptChunk {
    uint64_t group_id = 0;
    int64_t first = 0;  // position, from 1
    int64_t count = 0;
  };
  const std::vector<PromptChunk>& prompt_chunks() const { return prompt_chunks_; }
  // Sequences that draw in the plan built last, with log-probs.
  int64_t num_scored() const { return num_scored_; }

  // Undoes a plan that computes nothing and is not sent: what has ended goes with a later one.
  void TakeBackFinished(StepPlan* plan) {
    Hit(Probe::kFinishedWaitsForStep);
    finished_.swap(plan->finished);
    kv_.TakeBackHostFrees(plan);
  }

  // The size of the plan that BuildPlan made last, and what a step of such a size took on the ranks.
  const StepShape& shape() const { return shape_; }
  void NoteStep(const StepShape& shape, double seconds) { cost_of_step_.Learn(shape, seconds); }
  // What it took to move so many blocks out and in.
  void NoteSwap(int64_t blocks, double seconds);
  const StepCost& cost_of_step() const { return cost_of_step_; }

  // A token was committed: blocks that are full now may be shared.
  void Publish(request::Sequence* sequence) { kv_.Publish(sequence); }

  // With `in_flight` unanswered (not empty), whether the next plan waits for the answer, so that it can have drafts. All
  // sequences step together then: were each drafted one to wait alone, they would soon share no step any more.
  bool WaitsForDrafts(const StepPlan& in_flight) {
    return drafts_.enabled() && (!in_flight.drafts.empty() || drafts_.WorthWaiting(running_));
  }

  // A sampling item of the sequence was answered, with `accepted` of its drafts if it had any. Before its tokens are
  // committed.
  void NoteAnswer(request::Sequence* sequence, int64_t accepted);

  // A sequence has ended: its blocks are free at once, the ranks learn it with the next plan.
  void FinishSequence(request::Sequence* sequence);

  // A beam goes on as a second one as well: `child`, an empty place of the group, shares all that the parent has.
  // Requires: nothing of the group is in flight.
  void Branch(const request::Sequence& parent, request::Sequence* child);
  // Likewise, in the place of a beam that is given up. Returns how many tokens at the front both had in common at least.
  int64_t Replace(const request::Sequence& parent, request::Sequence* child);
  // A beam is given up; its place is empty.
  void Drop(request::Sequence* beam);

  // The group leaves (finished, cancelled, failed): gives back all it holds.
  void Remove(request::SequenceGroup* group);

  // The replica is lost: everything runs again from its committed tokens, on the blocks of a new one.
  void Reset(const ReplicaInfo& replica);

  const kv::KvManager& kv() const { return kv_; }
  const std::vector<request::SequenceGroup*>& running() const { return running_; }
  const WaitingQueue& waiting() const { return waiting_; }
  // Whether `a` stands before `b` when both run.
  bool Precedes(const request::SequenceGroup& a, const request::SequenceGroup& b) const;
  const TenantCounters& tenants() const { return tenants_; }
  int64_t admitted_tokens() const { return admitted_tokens_; }  // of prompts, again at every admission
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t num_swaps() const { return num_swaps_; }
  int64_t most_preemptions() const { return most_preemptions_; }  // of any one request
  const DraftPlanner& drafts() const { return drafts_; }
  // Tokens of admitted sequences that were looked up in, and found in, the prefix cache.
  int64_t cache_queried_tokens() const { return cache_queried_tokens_; }
  int64_t cache_hit_tokens() const { return cache_hit_tokens_; }

 private:
  // Cost of a generated token for its tenant, beside 1 for one of the prompt: it takes a step of its own.
  static constexpr double kGeneratedCost = 2;

  void PlanDecodes();
  bool PlanGroupDecodes(size_t index);
  int64_t PrefillRemaining(request::SequenceGroup* group);
  void CollectPrefills();
  void PlanPrefills();
  // False: no block to be had in this step.
  bool PlanGroupPrefill(size_t index, int64_t share);
  // At most `limit` tokens; returns how many. 0: no block to be had in this step.
  int64_t PlanPrefill(request::Sequence* sequence, size_t index, int64_t limit);
  void AddSample(request::Sequence* sequence);
  void PlanFork(request::Sequence* leader);
  void TellBeams(request::SequenceGroup* group);
  void AddDrafts();
  void Admit();
  void NotePromptRows(request::Sequence* sequence, int64_t num_tokens);
  void Charge(request::Sequence* sequence, double tokens);
  request::SequenceGroup* NextSuspect() const;
  void MakeWayForSuspects();
  // Free blocks that the group takes until all that is known of it is computed, and how many of them are held.
  struct Need {
    int64_t blocks = 0;
    int64_t held = 0;
  };
  Need BlocksToCome(request::SequenceGroup* group);
  // `promised` blocks are free but others need them to finish their prompts.
  bool CanAdmit(request::SequenceGroup* group, int64_t promised);
  bool SpentFit(const request::SequenceGroup& group) const;
  // Where the group stands among them, or would.
  std::vector<request::SequenceGroup*>::iterator PlaceOf(const request::SequenceGroup& group);
  // Gives a sequence its place on the ranks, with what the prefix cache has of it.
  NewSequence* Enter(request::Sequence* sequence);
  // Someone behind `index` gives way to the group there (preemption.h). False: nobody must.
  bool PreemptAfter(size_t index);
  void Preempt(size_t index);
  // Leaves the running groups, all or nothing, and waits.
  void StepBack(size_t index);
  bool ShouldSwap(request::SequenceGroup* group) const;
  // Gives a sequence that is not on the ranks what it had: swapped-out or cached blocks. False: no room for them now.
  bool Restore(request::Sequence* sequence, size_t index);
  void Release(request::Sequence* sequence, std::vector<uint32_t>* finished);
  // Leaves the ranks; a swapped-out sequence keeps its host blocks.
  void Leave(request::Sequence* sequence, std::vector<uint32_t>* finished);
  // A beam with the blocks of its parent gets its place on the ranks.
  void EnterAsBranch(const request::Sequence& parent, request::Sequence* child);
  void LeaveRanks(request::Sequence* sequence, std::vector<uint32_t>* finished);
  uint32_t TakeSeq();

  const SchedulerOptions options_;
  std::vector<int32_t> eos_token_ids_;  // banned before min_tokens
  kv::KvManager kv_;
  std::vector<request::SequenceGroup*> running_;  // in order of precedence
  WaitingQueue waiting_;
  DraftPlanner drafts_;
  TenantCounters tenants_;
  std::vector<uint32_t> free_seqs_;  // a stack of indices in the ranks' tables
  std::vector<uint32_t> finished_;   // the ranks still hold these
  bool has_suspects_ = false;        // a waiting group may have to run alone
  int64_t num_seqs_ = 0;             // unfinished choices of running groups
  int64_t admitted_tokens_ = 0;
  int64_t num_preemptions_ = 0;
  int64_t num_swaps_ = 0;
  int64_t most_preemptions_ = 0;
  double seconds_per_swapped_block_ = 0;  // one way; 0 = not measured yet
  StepCost cost_of_step_;
  int64_t num_crowded_out_ = 0;  // groups that could not be admitted for want of prefill
  int64_t cache_queried_tokens_ = 0;
  int64_t cache_hit_tokens_ = 0;

  // Of the plan being built.
  request::SequenceGroup* suspect_ = nullptr;  // to be admitted next, if has_suspects_ and nobody runs
  StepPlan* plan_ = nullptr;
  std::vector<request::Sequence*>* samples_ = nullptr;
  std::vector<request::Sequence*> prefill_samples_;  // come after all decodes in batch order
  std::vector<request::Sequence*> prefilled_;
  std::vector<PromptChunk> prompt_chunks_;
  std::vector<request::Sequence*> ready_;
  std::vector<request::SequenceGroup*> prefilling_;  // seen by PlanDecodes with tokens to catch up on
  std::vector<PrefillShare> prefills_;               // in order of precedence
  int64_t num_scored_ = 0;
  StepShape shape_;
  absl::Time now_;
  int64_t budget_ = 0;
  uint64_t build_ = 0;  // counts plans built
  bool preempted_ = false;
  size_t nobody_after_ = 0;  // this place gives way any more
};

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_SCHEDULER_H_
