// Who enters the running groups and who gives way: the scheduler's part that deals with want of blocks and places. See
// scheduler.h and preemption.h.
#include <glog/logging.h>

#include <algorithm>
#include <vector>

#include "coordinator/request/planted.h"
#include "coordinator/request/probe.h"
#include "coordinator/scheduler/preemption.h"
#include "coordinator/scheduler/scheduler.h"

namespace quire::scheduler {

using request::Sequence;
using request::SequenceGroup;

// The waiting group under suspicion that comes first; null if there is none.
SequenceGroup* Scheduler::NextSuspect() const {
  SequenceGroup* next = nullptr;
  waiting_.ForEach([&](SequenceGroup* group) {
    if (group->runs_alone() && (next == nullptr || waiting_.Before(*group, *next))) next = group;
  });
  return next;
}

// While somebody under suspicion waits, whoever is above suspicion steps back, so that all soon run together again.
void Scheduler::MakeWayForSuspects() {
  if (!has_suspects_ || (!running_.empty() && running_.front()->runs_alone())) return;
  suspect_ = NextSuspect();
  has_suspects_ = suspect_ != nullptr;
  if (!has_suspects_) return;
  Hit(Probe::kSuspectRunsAlone, !running_.empty());
  while (!running_.empty() && !Planted(Defect::kSuspectHasCompany)) StepBack(running_.size() - 1);
}

Scheduler::Need Scheduler::BlocksToCome(SequenceGroup* group) {
  Need need;
  group->ForEachLive([&](Sequence& s) {
    const int64_t most = kv_.MostBlocksFor(s.num_known(), options_.max_num_batched_tokens);
    const int64_t has = s.blocks.empty() ? 0 : static_cast<int64_t>(s.blocks.size()) - s.num_unseen;
    need.blocks += std::max<int64_t>(0, most - has);
    if (s.seq >= 0 || !s.host_blocks.empty()) return;
    const kv::KvManager::PrefixMatch match = kv_.Match(&s);
    need.blocks += match.num_free - (static_cast<int64_t>(match.blocks.size()) - match.num_unseen);
    need.held += match.num_held_free;
  });
  return need;
}

// R2 of preemption.h.
bool Scheduler::SpentFit(const SequenceGroup& group) const {
  if (!Spent(group, options_.max_preemptions) || Planted(Defect::kSpentDoNotFit)) return true;
  int64_t blocks = WorstCaseBlocks(group);
  for (const SequenceGroup* other : running_) {
    if (!Spent(*other, options_.max_preemptions)) break;  // they stand before all others
    blocks += WorstCaseBlocks(*other);
  }
  Hit(blocks <= kv_.pool().num_total() ? Probe::kSpentFits : Probe::kSpentAwaitsSpent);
  return blocks <= kv_.pool().num_total();
}

bool Scheduler::CanAdmit(SequenceGroup* group, int64_t promised) {
  if (num_seqs_ + group->num_unfinished() > options_.max_num_seqs) return false;
  // What was sampled before a preemption must be known before the group can be computed again.
  Hit(Probe::kAdmissionAwaitsResult, group->num_in_flight() > 0);
  if (group->num_in_flight() > 0) return false;
  // What is computed again ends with a draw, which needs the mask (Q6).
  const bool awaits_mask = group->awaits_mask() && !Planted(Defect::kAdmittedWithoutMask);
  Hit(Probe::kAdmissionAwaitsMask, awaits_mask);
  if (awaits_mask) return false;
  if (!SpentFit(*group)) return false;
  // A reserve for the running groups, so that admission does not cause preemption at once: what they grow by in the
  // next half block's worth of steps.
  const int64_t reserve = running_.empty() ? 0 : 1 + kv_.pool().num_total() / 100 + num_seqs_ / 2;
  const Need need = BlocksToCome(group);
  const int64_t blocks = need.blocks + promised, free = kv_.pool().num_free();
  // While others run nobody enters at the cost of a prefix that is held: a running group may, before it preempts.
  const int64_t held = running_.empty() ? 0 : std::max<int64_t>(0, kv_.pool().num_held_free() - need.held);
  Hit(Probe::kAdmissionKeepsReserve, blocks <= free && blocks + reserve > free);
  Hit(Probe::kAdmissionSparesHeld, blocks + reserve <= free && blocks + reserve + held > free);
  return blocks + reserve + held <= free;
}

void Scheduler::Admit() {
  int64_t tokens = 0, promised = 0;  // blocks, to prompts that are computed in part
  for (const PrefillShare& prefill : prefills_) {
    tokens += prefill.remaining;
    promised += BlocksToCome(prefill.group).blocks;
  }
  num_crowded_out_ = 0;
  while (!waiting_.empty() && budget_ > 0) {
    if (tokens >= budget_ && static_cast<int64_t>(prefills_.size()) >= kMaxPartialPrefills) {
      num_crowded_out_ = waiting_.size();
      return;
    }
    if (has_suspects_ && !running_.empty() && !Planted(Defect::kSuspectHasCompany)) return;
    SequenceGroup* group = has_suspects_ ? suspect_ : waiting_.Next(tenants_);
    if (!CanAdmit(group, promised)) return;
    waiting_.Remove(group);
    num_seqs_ += group->num_unfinished();
    admitted_tokens_ += group->prompt_len();
    Hit(Probe::kAdmittedBeforeOlder, !running_.empty() && group->id < running_.back()->id);
    running_.insert(Planted(Defect::kResumedOutOfOrder) ? running_.end() : PlaceOf(*group), group);
    promised += BlocksToCome(group).blocks;
    const PrefillShare prefill = {group, PrefillRemaining(group), 0};
    tokens += prefill.remaining;
    prefills_.insert(
        std::lower_bound(prefills_.begin(), prefills_.end(), prefill,
                         [this](const PrefillShare& a, const PrefillShare& b) { return Precedes(*a.group, *b.group); }),
        prefill);
  }
}

bool Scheduler::Precedes(const SequenceGroup& a, const SequenceGroup& b) const {
  const bool a_spent = Spent(a, options_.max_preemptions), b_spent = Spent(b, options_.max_preemptions);
  return a_spent != b_spent ? a_spent : waiting_.Before(a, b);
}

std::vector<SequenceGroup*>::iterator Scheduler::PlaceOf(const SequenceGroup& group) {
  return std::lower_bound(running_.begin(), running_.end(), &group,
                          [this](const SequenceGroup* a, const SequenceGroup* b) { return Precedes(*a, *b); });
}

bool Scheduler::PreemptAfter(size_t index) {
  // Where one had nobody to take from, those behind it have nobody either: the scan is not made again for each.
  const bool first = index == 0 || Spent(*running_[index], options_.max_preemptions);
  if (!first && index >= nobody_after_) return false;
  const int64_t victim = ChooseVictim(running_, index, build_, options_.max_preemptions);
  if (victim == kNobody) {
    nobody_after_ = std::min(nobody_after_, index);
    return false;
  }
  Preempt(static_cast<size_t>(victim));
  return true;
}

void Scheduler::NoteSwap(int64_t blocks, double seconds) {
  const double sample = seconds / static_cast<double>(blocks);
  double& known = seconds_per_swapped_block_;
  known = known == 0 ? sample : 0.8 * known + 0.2 * sample;
}

// All or nothing for the group. Swapping moves its blocks out and in again, recomputing computes its tokens again.
bool Scheduler::ShouldSwap(SequenceGroup* group) const {
  if (options_.preemption_mode == PreemptionMode::kRecompute) return false;
  const int64_t blocks = kv_.UniqueBlocks(group);
  Hit(Probe::kHostPoolTooSmall, blocks > kv_.host_pool().num_free());
  if (blocks == 0 || blocks > kv_.host_pool().num_free()) return false;
  if (options_.preemption_mode == PreemptionMode::kSwap) return true;
  int64_t tokens = 0;
  group->ForEachLive([&](Sequence& s) { tokens += s.num_computed; });
  return SwapIsCheaper(blocks, tokens, seconds_per_swapped_block_, cost_of_step_);
}

void Scheduler::Preempt(size_t index) {
  SequenceGroup* group = running_[index];
  CHECK(!Spent(*group, options_.max_preemptions))
      << "request " << group->request.request_id << " was preempted " << group->num_preemptions << " times";
  StepBack(index);
  most_preemptions_ = std::max<int64_t>(most_preemptions_, ++group->num_preemptions);
  ++num_preemptions_;
  preempted_ = true;
}

void Scheduler::StepBack(size_t index) {
  SequenceGroup* group = running_[index];
  CHECK_NE(group->planned_step, build_) << "request " << group->request.request_id << " is in the plan";
  const bool swap = ShouldSwap(group);
  const bool forked = group->forked && group->num_unfinished() > 1;
  Hit(Probe::kPreemptForkedBySwap, forked && swap);
  Hit(Probe::kPreemptForkedByRecompute, forked && !swap);
  Hit(Probe::kPreemptBeforeFork, !group->forked);
  Hit(Probe::kBeamsPreempted, group->beams.size() > 1);
  Hit(Probe::kPreemptInFlight, group->num_in_flight() > 0);
  Hit(Probe::kPreemptedThrice, group->num_preemptions == 2);
  if (swap) {
    kv_.SwapOut(group, plan_);
    ++num_swaps_;
  }
  std::vector<uint32_t> untold;  // of a planted defect
  for (Sequence& s : group->sequences) {
    Leave(&s, Planted(Defect::kRanksNotToldOfPreemption) ? &untold : &plan_->finished);
  }
  num_seqs_ -= group->num_unfinished();
  running_.erase(running_.begin() + static_cast<int64_t>(index));
  waiting_.Add(group);
  group->steps_since_resume = 0;
}

}  // namespace quire::scheduler
