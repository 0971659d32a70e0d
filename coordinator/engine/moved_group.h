// What one engine gives another of a request whose replica is lost. Plain data.
#ifndef QUIRE_COORDINATOR_ENGINE_MOVED_GROUP_H_
#define QUIRE_COORDINATOR_ENGINE_MOVED_GROUP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "coordinator/request/sequence_group.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

struct MovedGroup {
  std::unique_ptr<request::SequenceGroup> group;  // with nothing on any rank
  std::vector<TokenLogprobs> prompt_logprobs;     // that have come back and were not emitted, position 1 first
  int64_t num_blocks = 0;                         // that it may need at most
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_MOVED_GROUP_H_
