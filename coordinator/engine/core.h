// The core: everything that decides, as a pure state machine. Step(events, now) -> actions; no threads, clocks,
// sockets, files or random devices inside. The engine (engine.h) and the simulation (simulation_test.cc) are shells
// around it.
//
// Invariants (I-numbers are checked by CheckInvariants):
//   I1  free + used == total blocks; references == owners; a written block has one owner; tables cover exactly the
//       computed tokens.
//   I2  An accepted request ends with exactly one End; nothing is emitted for it afterwards.
//   I3  Commit before emit: a token is appended to the choice's log, then emitted with its offset; offsets are
//       contiguous.
//   I4  No effect from a result whose epoch or step is not the expected one.
//   I5  At most kMaxInFlight steps are unanswered, none is planned behind one with drafts; all are void when the epoch ends.
//   I6  With nothing left to do all blocks are free.
#ifndef QUIRE_COORDINATOR_ENGINE_CORE_H_
#define QUIRE_COORDINATOR_ENGINE_CORE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/engine/admission.h"
#include "coordinator/engine/beam_round.h"
#include "coordinator/engine/moved_group.h"
#include "coordinator/engine/output.h"
#include "coordinator/engine/prompt_logprobs.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/scheduler.h"

namespace quire::engine {

// --- events ---
struct SubmitEvent {
  uint64_t id = 0;  // ascending; given by the shell
  request::Request request;
};
struct CancelEvent {
  uint64_t id = 0;  // 0 = by label
  std::string request_id;
};
struct StepDoneEvent {
  StepResult result;
};
struct ReplicaFormedEvent {
  ReplicaInfo info;
};
struct ReplicaDownEvent {
  uint64_t epoch = 0;
  absl::Status reason;
};
struct TickEvent {};  // time has passed
struct EndAllEvent {
  absl::Status reason;
};
using Event =
    std::variant<SubmitEvent, CancelEvent, StepDoneEvent, ReplicaFormedEvent, ReplicaDownEvent, TickEvent, EndAllEvent>;

// --- actions ---
struct EmitAction {
  uint64_t id = 0;
  ChoiceDelta delta;
};
struct EndAction {
  uint64_t id = 0;
  absl::Status status;
  RequestTiming timing;
};
struct Actions {
  std::vector<EmitAction> emits;
  std::vector<EndAction> ends;         // after the emits; refusals of a submit too
  std::vector<const StepPlan*> sends;  // in order; valid until the step is answered or the epoch ends
  uint64_t form_epoch = 0;             // nonzero: form this epoch, older ones are void

  void clear() {
    emits.clear();
    ends.clear();
    sends.clear();
    form_epoch = 0;
  }
};

struct CoreOptions {
  scheduler::SchedulerOptions scheduler;
  int64_t max_queue_len = 1024;  // waiting requests, their tokens and bytes: see admission.h
  int64_t max_queue_tokens = 1 << 20;
  int64_t max_queue_bytes = 256 << 20;
  absl::Duration min_step_deadline = absl::Seconds(30);
  int max_form_attempts = 20;       // consecutive failures, of a replica that has worked
  int max_crashes_per_request = 3;  // in a row (crash_record.h)
  // Other replicas take the requests of this one when it is lost (GiveUp): the core ends none of them for that, and
  // goes on trying to form, ever more patiently.
  bool has_siblings = false;
  // Called on any thread when a constraint of a request here has its next mask: Step is due. Null in tests without.
  std::function<void()> wake;
  uint64_t first_epoch = 1;  // above every epoch of an earlier coordinator of the same ranks
};

// Of all plans sent since the start.
struct PlanTotals {
  int64_t forks = 0;
  int64_t block_copies = 0;  // copy-on-write
  int64_t blocks_swapped_out = 0;
  int64_t blocks_swapped_in = 0;

  void Add(const StepPlan& plan) {
    forks += static_cast<int64_t>(plan.forks.size());
    block_copies += static_cast<int64_t>(plan.block_copies.size());
    blocks_swapped_out += static_cast<int64_t>(plan.swap_outs.size());
    blocks_swapped_in += static_cast<int64_t>(plan.swap_ins.size());
  }
};

struct CoreStats {
  int64_t num_running_reqs = 0;
  int64_t num_waiting_reqs = 0;
  int64_t num_waiting_tokens = 0;                      // of their prompts
  absl::Time oldest_waiting = absl::InfiniteFuture();  // when it arrived
  double tenant_gap = 0;                               // TenantCounters::Gap
  bool runs_alone = false;                             // the one running request is under suspicion of ending its ranks
  int64_t num_preemptions = 0;
  int64_t num_swaps = 0;         // of them
  int64_t most_preemptions = 0;  // of any one request
  int64_t host_blocks_used = 0;
  int64_t generation_tokens = 0;
  int64_t prompt_tokens = 0;
  int64_t stale_results = 0;
  int64_t blocks_total = 0;
  int64_t blocks_used = 0;
  int64_t blocks_cached = 0;  // full blocks that the prefix cache knows, used or free
  int64_t blocks_held = 0;    // of shared prefixes, computed or not
  int64_t cache_queried_tokens = 0;
  int64_t cache_hit_tokens = 0;
  int64_t num_drafted = 0;   // speculated tokens that were answered
  int64_t num_accepted = 0;  // of them
  int64_t tokens_used = 0;   // slots of used blocks that hold a token, shared ones once; the rest is fragmentation
  int64_t table_blocks = 0;  // entries of all block tables: what would be used without sharing
  PlanTotals planned;

  // Share of the used slots that hold no token.
  double fragmentation(int64_t block_size) const {
    const double slots = static_cast<double>(blocks_used * block_size);
    return slots == 0 ? 0 : 1 - static_cast<double>(tokens_used) / slots;
  }
};

class Core {
 public:
  static constexpr int kMaxInFlight = 2;

  explicit Core(const CoreOptions& options);
  ~Core();

  // Applies the events in order, then plans as many steps as may be in flight. Appends to *actions.
  void Step(std::vector<Event>* events, absl::Time now, Actions* actions);

  // Hands out requests of a replica that is lost, with what is committed of them and nothing on the ranks: those that
  // need at most `max_blocks` blocks, and those under suspicion only if `suspects`. Requires: not formed.
  std::vector<MovedGroup> GiveUp(int64_t max_blocks, bool suspects);

  // Takes a request that another core gave up, whatever the queue's length; it goes on from its committed tokens with
  // the next Step. Requires: a replica has formed here before.
  void Adopt(MovedGroup moved, absl::Time now, Actions* actions);

  // The next moment at which a TickEvent is due although nothing else happens.
  absl::Time NextTimer() const;

  bool formed() const { return formed_; }
  bool has_formed() const { return scheduler_ != nullptr; }
  bool has_requests() const { return !live_.empty(); }
  bool failed() const { return failed_; }                           // gave up forming
  const absl::Status& down_reason() const { return down_reason_; }  // of the last loss
  uint64_t epoch() const { return epoch_; }
  uint64_t steps() const { return step_; }                 // planned in this epoch
  const ReplicaInfo& replica() const { return replica_; }  // of the last formation
  int num_in_flight() const { return num_in_flight_; }
  CoreStats stats() const;

  // To look, not to touch: null before the first formation.
  const scheduler::Scheduler* scheduler() const { return scheduler_.get(); }
  template <typename F>
  void ForEachLive(F&& f) const {
    for (const auto& [label, group] : live_) f(*group);
  }

  // CHECK-fails if an invariant does not hold. Cost: linear in blocks and sequences.
  void CheckInvariants() const;

 private:
  using PromptChunk = scheduler::Scheduler::PromptChunk;
  struct InFlight {
    StepPlan plan;
    std::vector<request::Sequence*> samples;  // in batch order
    scheduler::StepShape shape;
    int64_t num_scored = 0;                  // of the samples, with log-probs
    std::vector<PromptChunk> prompt_chunks;  // likewise
  };
  using Group = request::SequenceGroup;

  void Handle(SubmitEvent& event);
  void Handle(CancelEvent& event);
  void Handle(StepDoneEvent& event);
  void Handle(ReplicaFormedEvent& event);
  void Handle(ReplicaDownEvent& event);
  void FormWhenDue();
  void Handle(TickEvent&) {}
  void Handle(EndAllEvent& event);

  // Refuses what must not wait beside those that do.
  absl::Status CheckQueueFor(const request::Request& request) const;
  absl::Status Admissible(const request::Request& request) const;
  bool ResultFits(const StepResult& result, const InFlight& flight) const;
  void TakePromptLogprobs(const InFlight& flight, StepResult* result);
  // One answered item: 1 token, or 1 + accepted ones. What comes after the end of its choice is dropped.
  void CommitItem(request::Sequence* sequence, int64_t accepted, const int32_t* tokens, TokenLogprobs* logprobs);
  // False: the choice has ended with this token (and its group may be gone).
  bool Commit(request::Sequence* sequence, int32_t token, TokenLogprobs* logprobs);
  // Of constrained output (core_constraints.cc).
  void Constrain(Group* group);
  void Advance(request::Sequence* sequence, int32_t token);
  void TakeMasks();
  void AdoptConstraints(Group* group);
  // Into the scheduler, and out of it. One that awaits its first mask has to wait outside: it would hold up the queue.
  void Enter(Group* group);
  void Leave(Group* group);
  void StopPreparing(Group* group);
  // A request that comes late may find a replica that came back smaller.
  void EndIfTooBig(Group* group);
  // Of beam search (core_beams.cc).
  void StartBeams(Group* group);
  void CommitRow(request::Sequence* beam, TokenLogprobs* logprobs);
  void AdvanceBeams(Group* group);
  void EmitHypotheses(Group* group);
  void VoidFlights();
  void ExpireDeadlines();
  void Plan();
  void NoteStepTime(const InFlight& flight, const StepResult& result);
  // A step may take max(min_step_deadline, 8 x the slowest of its size), and kUnknownStepDeadline before one was seen.
  uint32_t DeadlineMs(const StepPlan& plan) const;
  void End(Group* group, const absl::Status& status);
  void EraseIfDrained(Group* group);
  void GiveUpForming(const absl::Status& reason);
  void LeaveCrashed(const absl::Status& reason);

  const CoreOptions options_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;  // null before the first formation
  ReplicaInfo replica_;
  std::unordered_map<uint64_t, std::unique_ptr<Group>> groups_;  // live, and ended ones with samples in flight
  std::unordered_map<std::string, Group*> live_;                 // by request_id
  PromptLogprobs prompt_logprobs_;
  BeamRound beam_round_;
  std::vector<uint64_t> await_masks_;           // groups with a choice that awaits its mask
  QueueSize preparing_;                         // of them, those that no scheduler has yet: they count as waiting
  std::array<InFlight, kMaxInFlight> flights_;  // a ring
  int first_flight_ = 0;
  int num_in_flight_ = 0;

  uint64_t epoch_;  // the last one begun; first_epoch - 1 before the first
  uint64_t step_ = 0;
  bool formed_ = false;
  bool failed_ = false;
  int form_attempts_ = 0;
  absl::Time form_at_ = absl::InfinitePast();  // when the next epoch forms; infinite future = it is forming or formed
  absl::Status down_reason_;
  // Slow-moving maximum of the time of steps with 2^(i-1) .. 2^i - 1 tokens, in seconds; 0 = none yet. For step
  // deadlines.
  std::array<double, 32> step_seconds_{};
  int64_t generation_tokens_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t stale_results_ = 0;
  PlanTotals planned_;
  DrainRate drain_rate_;
  int64_t drained_tokens_ = 0;  // admitted tokens that drain_rate_ knows of
  int64_t num_adopted_ = 0;
  absl::Time now_;
  absl::Time next_deadline_ = absl::InfiniteFuture();
  Actions* actions_ = nullptr;
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_CORE_H_
