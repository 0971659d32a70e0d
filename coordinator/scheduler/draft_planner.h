// Adds drafts to a plan that is complete otherwise, and keeps count of what became of them. Pure; engine thread only.
//
// Invariants:
//   DP1  Drafts use what a plan leaves: tokens under max_num_batched_tokens, rows under max_logit_rows, free blocks.
//        Nobody waits or is preempted for them.
//   DP2  A drafted item is planned when all tokens of its sequence are committed, and nothing is planned for anybody until
//        it is answered: so no sequence is preempted, swapped or forked while its length is not known.
//   DP3  Drafts never reach beyond max_tokens: the last token of a sequence is never computed.
#ifndef QUIRE_COORDINATOR_SCHEDULER_DRAFT_PLANNER_H_
#define QUIRE_COORDINATOR_SCHEDULER_DRAFT_PLANNER_H_

#include <cstdint>
#include <vector>

#include "coordinator/kv/kv_manager.h"
#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_cost.h"
#include "coordinator/scheduler/step_plan.h"
#include "coordinator/spec/drafter.h"

namespace quire::scheduler {

// What a plan leaves for drafts.
struct DraftRoom {
  int64_t tokens = 0;
  int64_t rows = 0;
  int64_t blocks = 0;
  double price = 0;  // tokens that a row must bring to be worth its time
};

class DraftPlanner {
 public:
  explicit DraftPlanner(const spec::SpecOptions& options) : options_(options) {}

  bool enabled() const { return options_.method != spec::Method::kNone; }

  // Whether waiting for the answers in flight, so that drafts can be made, brings more than planning on without them:
  // tokens expected from drafts, as a share of the sequences that decode, beside what a step loses without overlap.
  bool WorthWaiting(const std::vector<request::SequenceGroup*>& running);

  // Gives drafts to decode items. `items`: the sequences of plan->decode, then others.
  void AddDrafts(const std::vector<request::Sequence*>& items, DraftRoom room, kv::KvManager* kv, StepPlan* plan,
                 StepShape* shape);

  // An item was answered with `accepted` of its drafts; takes back what was computed for the others. Call before its
  // tokens are committed.
  void NoteAnswer(request::Sequence* sequence, int64_t accepted, kv::KvManager* kv);
  // Likewise for an item without drafts.
  void NoteUndrafted(request::Sequence* sequence) {
    if (sequence->drafter != nullptr) sequence->drafter->rate.NoteUndrafted();
  }

  int64_t num_drafted() const { return num_drafted_; }    // answered
  int64_t num_accepted() const { return num_accepted_; }  // of them

 private:
  // Drafts that are worth it for this sequence now; makes its drafter if it has none yet.
  int Length(request::Sequence* sequence, int32_t in_flight, double price);

  const spec::SpecOptions options_;
  double price_ = 0;  // of the last plan
  int64_t num_drafted_ = 0;
  int64_t num_accepted_ = 0;
};

}  // namespace quire::scheduler

#endif  // QUIRE_COORDINATOR_SCHEDULER_DRAFT_PLANNER_H_
