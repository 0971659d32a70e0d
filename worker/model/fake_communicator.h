// Collectives of ranks that are threads of one test process: memory and a barrier, sums in rank order.
//
// Thread rule: each rank's object on that rank's thread.
#ifndef QUIRE_WORKER_MODEL_FAKE_COMMUNICATOR_H_
#define QUIRE_WORKER_MODEL_FAKE_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/comm/communicator.h"

namespace quire::worker {

// One communicator per rank, in rank order; they hold the group together. num_calls() counts a rank's collectives.
class FakeCommunicator : public Communicator {
 public:
  virtual int64_t num_calls() const = 0;
};
std::vector<std::unique_ptr<FakeCommunicator>> MakeFakeGroup(int world_size);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_FAKE_COMMUNICATOR_H_
