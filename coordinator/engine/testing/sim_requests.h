// What simulated clients ask for, and how simulated servers are set up: each feature is one line of a table in
// sim_requests.cc. Also what a request must give: the model alone, without batches, blocks or faults. Test only.
#ifndef QUIRE_COORDINATOR_ENGINE_TESTING_SIM_REQUESTS_H_
#define QUIRE_COORDINATOR_ENGINE_TESTING_SIM_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/engine/core.h"
#include "coordinator/engine/testing/sim_loop.h"
#include "coordinator/request/request.h"

namespace quire::engine {

// The replica that the ranks report.
struct SimModel {
  int32_t vocab = 0;
  int64_t block_size = 0, num_blocks = 0, num_host_blocks = 0;
  int64_t window = 0;  // of attention; 0 = all
};

SimModel DrawModel(SimLoop* dice);
CoreOptions DrawOptions(SimLoop* dice);

// A random request: some kinds of the table together. Its id, label and seed are the caller's.
request::Request DrawRequest(SimLoop* dice, const SimModel& model);

// The content salt of a tenant (SimReplica::set_salts).
uint64_t TenantSalt(const std::string& tenant);

// What the model gives alone, by choice, by the plainest code.
struct SoloRun {
  std::vector<int32_t> tokens;
  std::string text;
};
std::vector<SoloRun> RunAlone(const request::Request& request, int32_t vocab);
// Likewise, the log-probs of the prompt from its second position on; empty if none are wanted.
std::vector<TokenLogprobs> ScoreAlone(const request::Request& request);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_TESTING_SIM_REQUESTS_H_
