#include "worker/runtime/staged_communicator.h"

namespace quire::worker {

absl::Status StagedCommunicator::AllReduceSum(float* data, int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(float));
  own_.resize(count);
  if (absl::Status s = backend_->CopyToHost(own_.data(), data, bytes); !s.ok()) return s;
  if (absl::Status s = host_->AllReduceSum(own_.data(), count); !s.ok()) return s;
  return backend_->CopyToDevice(data, own_.data(), bytes);
}

absl::Status StagedCommunicator::AllGather(const float* in, float* out, int64_t count) {
  const int64_t bytes = count * static_cast<int64_t>(sizeof(float));
  own_.resize(count);
  all_.resize(count * world_size());
  if (absl::Status s = backend_->CopyToHost(own_.data(), in, bytes); !s.ok()) return s;
  if (absl::Status s = host_->AllGather(own_.data(), all_.data(), count); !s.ok()) return s;
  return backend_->CopyToDevice(out, all_.data(), bytes * world_size());
}

}  // namespace quire::worker
