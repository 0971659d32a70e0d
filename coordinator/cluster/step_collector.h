// Merges the ranks' answers to a step into one StepResult, and refuses what does not belong. Pure: no clocks, no
// threads; the group's lock guards it.
//
// Invariants:
//   K1  A reply is accepted iff its epoch is the current one and its step is the next one that this rank owes.
//       Anything else (stale, repeated, early) is dropped and counted, and changes nothing.
//   K2  An accepted reply whose digest, rank or number of tokens is not the plan's is an error: the replica must go
//       down.
//   K3  Results come out in step order, once each, when every rank has answered.
#ifndef QUIRE_COORDINATOR_CLUSTER_STEP_COLLECTOR_H_
#define QUIRE_COORDINATOR_CLUSTER_STEP_COLLECTOR_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/cluster/step_codec.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::cluster {

class StepCollector {
 public:
  explicit StepCollector(int world_size);

  // Forgets all steps in flight; replies of other epochs are dropped from now on.
  void Reset(uint64_t epoch);

  // Announces a step that was sent. Requires: the current epoch; steps ascend by one from 1; fewer than two unanswered.
  void Expect(const ExpectedStep& expected);

  // Judges the reply that came on `rank`'s stream. Nothing: pending or dropped (`dropped()` tells).
  // Errors: INTERNAL when the rank contradicts the plan (K2), with both values.
  absl::StatusOr<std::optional<StepResult>> Add(int rank, RankReply reply);

  // Ranks that have not answered the oldest step in flight; empty if none is.
  std::vector<int> LateRanks() const;
  // The oldest step in flight, 0 if none.
  uint64_t oldest_step() const { return in_flight_.empty() ? 0 : in_flight_.front().expected.step; }
  uint64_t dropped() const { return dropped_; }

 private:
  struct InFlight {
    ExpectedStep expected;
    StepResult result;
    int num_answers = 0;
  };

  const int world_size_;
  uint64_t epoch_ = 0;
  uint64_t last_step_ = 0;              // announced
  std::vector<uint64_t> next_by_rank_;  // the step that each rank owes next
  std::deque<InFlight> in_flight_;      // at most two
  uint64_t dropped_ = 0;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_STEP_COLLECTOR_H_
