// Collectives of the host for a device with memory of its own: results travel through host memory. Slow, and to the bit
// what ranks on CPUs do (C2 of Communicator): for tests, and for ranks that NCCL does not join.
//
// Thread rule: as Communicator.
#ifndef QUIRE_WORKER_RUNTIME_STAGED_COMMUNICATOR_H_
#define QUIRE_WORKER_RUNTIME_STAGED_COMMUNICATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

class StagedCommunicator final : public Communicator {
 public:
  // Requires: backend outlives the communicator.
  StagedCommunicator(std::unique_ptr<Communicator> host, kernels::Backend* backend)
      : host_(std::move(host)), backend_(backend) {}

  int rank() const override { return host_->rank(); }
  int world_size() const override { return host_->world_size(); }
  const char* Name() const override { return host_->Name(); }
  absl::Status AllReduceSum(float* data, int64_t count) override;
  absl::Status AllGather(const float* in, float* out, int64_t count) override;
  void Abort() override { host_->Abort(); }

 private:
  const std::unique_ptr<Communicator> host_;
  kernels::Backend* const backend_;
  std::vector<float> own_, all_;  // keep their room
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_RUNTIME_STAGED_COMMUNICATOR_H_
