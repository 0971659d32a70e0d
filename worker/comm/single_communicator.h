// The communicator of a group of one: nothing to exchange. Compute thread only.
#ifndef QUIRE_WORKER_COMM_SINGLE_COMMUNICATOR_H_
#define QUIRE_WORKER_COMM_SINGLE_COMMUNICATOR_H_

#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  const char* Name() const override { return "single"; }
  absl::Status AllReduceSum(float* data, int64_t count) override;
  absl::Status AllGather(const float* in, float* out, int64_t count) override;
  void Abort() override { aborted_ = true; }

 private:
  absl::Status Check() const;

  std::atomic<bool> aborted_{false};
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_SINGLE_COMMUNICATOR_H_
