// Constrained output in the core: who waits for the mask of its next token. The masks themselves are computed elsewhere
// (request/output_constraint.h); a choice that waits for one is left out of plans, the others go on.
#include <glog/logging.h>

#include <utility>
#include <vector>

#include "coordinator/engine/core.h"

namespace quire::engine {

using request::Sequence;

void Core::Constrain(Group* group) {
  CHECK_EQ(group->request.params.beam_width, 0u) << "beams of " << group->request.request_id << " are constrained";
  group->constrained = true;
  for (Sequence& s : group->sequences) {
    s.constraint = group->request.make_constraint();
    s.constraint->SetWake(options_.wake);
    s.awaits_mask = true;  // TakeMasks has a look in this very step
  }
  await_masks_.push_back(group->id);
}

void Core::Enter(Group* group) {
  group->prepares = group->constrained && group->longest_output() == 0 && group->awaits_mask();
  if (!group->prepares) return scheduler_->Add(group);
  preparing_.Add({1, group->prompt_len(), group->request_bytes});
}

void Core::Leave(Group* group) {
  if (!group->prepares) return scheduler_->Remove(group);
  StopPreparing(group);
}

void Core::StopPreparing(Group* group) {
  group->prepares = false;
  preparing_.Add({-1, -group->prompt_len(), -group->request_bytes});
}

void Core::Advance(Sequence* sequence, int32_t token) {
  if (!sequence->group->awaits_mask()) await_masks_.push_back(sequence->group->id);
  sequence->awaits_mask = true;
  sequence->constraint->Advance(token);
}

void Core::TakeMasks() {
  std::vector<uint64_t> waiting = std::exchange(await_masks_, {});
  for (const uint64_t id : waiting) {
    const auto it = groups_.find(id);
    if (it == groups_.end() || it->second->ended) continue;  // it ended, or moved
    Group* group = it->second.get();
    absl::Status broken;
    for (Sequence& s : group->sequences) {
      if (!s.awaits_mask || !s.constraint->ready()) continue;
      s.awaits_mask = false;
      broken.Update(s.constraint->status());
    }
    if (!broken.ok()) {
      End(group, broken);
    } else if (group->prepares && !group->awaits_mask()) {
      StopPreparing(group);
      scheduler_->Add(group);
      EndIfTooBig(group);
    } else if (group->awaits_mask()) {
      await_masks_.push_back(id);
    }
  }
}

// The masks of one that moved here come from now on with this core's wake.
void Core::AdoptConstraints(Group* group) {
  for (Sequence& s : group->sequences) s.constraint->SetWake(options_.wake);
  if (group->awaits_mask()) await_masks_.push_back(group->id);
}

}  // namespace quire::engine
