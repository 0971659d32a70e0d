// What becomes of requests when a replica is lost: they wait for its return, fail as its cause, or leave the core and
// enter another one's. A group moves as it is: prompt, committed tokens, stop checkers, offsets and the record of its
// losses; nothing of it is on any rank, so whoever takes it computes it again, and the same seed, choice and position
// give the same tokens there.
#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/engine/core.h"

namespace quire::engine {

using request::Sequence;

namespace {

constexpr absl::Duration kFailedBackoff = absl::Seconds(10);

}  // namespace

// Running requests wait for the next epoch and go on from their committed tokens; one that saw too many losses, the
// last one alone, is their cause.
void Core::LeaveCrashed(const absl::Status& reason) {
  std::vector<Group*> poisonous;
  for (Group* group : scheduler_->running()) {
    if (!Planted(Defect::kCrashesNotCounted)) group->crashes.Note(group->longest_output());
    Hit(Probe::kLostTwiceRunning, group->crashes.in_a_row() == 2);
    if (group->crashes.in_a_row() >= options_.max_crashes_per_request) poisonous.push_back(group);
  }
  Hit(Probe::kLostTooOften, !poisonous.empty());
  for (Group* group : poisonous) {
    End(group, absl::InternalError(
                   absl::StrCat("the replica was lost ", group->crashes.in_a_row(),
                                " times in a row while this request ran, the last time alone: ", reason.message())));
  }
  ReplicaInfo same = replica_;  // sizes are known when the next epoch has formed
  scheduler_->Reset(same);
}

void Core::GiveUpForming(const absl::Status& reason) {
  failed_ = true;
  form_at_ = absl::InfiniteFuture();
  if (options_.has_siblings) {
    if (scheduler_ != nullptr) LeaveCrashed(reason);
    form_at_ = now_ + kFailedBackoff;
    return;
  }
  EndAllEvent all{absl::UnavailableError(absl::StrCat("the replica is lost: ", reason.message()))};
  if (scheduler_ != nullptr) Handle(all);
}

std::vector<MovedGroup> Core::GiveUp(int64_t max_blocks, bool suspects) {
  CHECK(!formed_) << "a formed replica keeps its requests";
  std::vector<MovedGroup> given;
  if (scheduler_ == nullptr) return given;
  std::vector<Group*> leaving;
  for (const auto& [label, group] : live_) {
    if (scheduler_->WorstCaseBlocks(*group) <= max_blocks && (suspects || !group->runs_alone())) {
      leaving.push_back(group);
    }
  }
  // Whoever takes them serves them in order of arrival.
  std::sort(leaving.begin(), leaving.end(), [](const Group* a, const Group* b) { return a->id < b->id; });
  for (Group* group : leaving) {
    CHECK_EQ(group->num_in_flight(), 0) << "steps of a lost replica are void";
    const int64_t num_blocks = scheduler_->WorstCaseBlocks(*group);
    Leave(group);
    live_.erase(group->request.request_id);
    const auto it = groups_.find(group->id);
    given.push_back({std::move(it->second), prompt_logprobs_.Take(group->id), num_blocks});
    groups_.erase(it);
    // What refers to this scheduler.
    group->planned_step = 0;
    for (Sequence& s : group->sequences) {
      s.keys.clear();
      s.num_published = 0;
    }
  }
  return given;
}

void Core::Adopt(MovedGroup moved, absl::Time now, Actions* actions) {
  CHECK(scheduler_ != nullptr) << "a replica that never formed takes no requests";
  now_ = now;
  actions_ = actions;
  Group* group = moved.group.get();
  CHECK(live_.emplace(group->request.request_id, group).second) << "request " << group->request.request_id;
  CHECK(groups_.emplace(group->id, std::move(moved.group)).second) << "request " << group->request.request_id;
  ++num_adopted_;
  if (!moved.prompt_logprobs.empty()) prompt_logprobs_.Add(group->id, 1, std::move(moved.prompt_logprobs));
  next_deadline_ = std::min(next_deadline_, group->request.deadline);
  if (group->constrained) AdoptConstraints(group);
  Enter(group);
  EndIfTooBig(group);
}

void Core::EndIfTooBig(Group* group) {
  const int64_t worst = scheduler_->WorstCaseBlocks(*group);
  const int64_t total = scheduler_->kv().pool().num_total();
  if (worst <= total) return;
  End(group, absl::UnavailableError(absl::StrCat("the request's replica is lost, and the one that came has ", total,
                                                 " KV blocks of the ", worst, " that it may need")));
}

}  // namespace quire::engine
