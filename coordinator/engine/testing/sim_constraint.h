// A made-up grammar for simulations: which tokens may follow is a hash of the output so far, and its masks come late, on
// virtual time. Test only; single thread.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CONSTRAINT_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CONSTRAINT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "coordinator/engine/testing/sim_loop.h"
#include "coordinator/request/output_constraint.h"

namespace quire::engine {

// The tokens that may follow `output`: at least one.
TokenMask SimMask(const std::vector<int32_t>& output, int32_t vocab);

std::unique_ptr<request::OutputConstraint> MakeSimConstraint(SimLoop* loop, int32_t vocab);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_SIM_CONSTRAINT_H_
