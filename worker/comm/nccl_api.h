// The few calls of NCCL that a communicator makes: the seam between its state machine and the library, which is opened at
// run time (nccl_library.cc). No CUDA header.
//
// Thread rule: as NCCL's: calls on one communicator come one at a time, but Abort from any thread.
#ifndef QUIRE_WORKER_COMM_NCCL_API_H_
#define QUIRE_WORKER_COMM_NCCL_API_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quire::worker {

enum class NcclState : uint8_t { kDone, kInProgress, kRemoteError, kError };

class NcclApi {
 public:
  virtual ~NcclApi() = default;

  // Bytes that name a group; made by one rank, known to all.
  virtual absl::StatusOr<std::string> UniqueId() = 0;
  // Begins to form the group; *handle is there at once, State tells when it may be used.
  virtual NcclState Init(const std::string& id, int rank, int world_size, void** handle) = 0;
  // How far the last call on the communicator is.
  virtual NcclState State(void* handle) = 0;
  // What went wrong last, in the library's words.
  virtual std::string LastError(void* handle) = 0;
  // Queue a collective on the stream; kInProgress: not queued yet, ask State.
  virtual NcclState AllReduceSum(void* handle, float* data, int64_t count, void* stream) = 0;
  virtual NcclState AllGather(void* handle, const float* in, float* out, int64_t count, void* stream) = 0;
  // Whether all that was queued on the stream has run.
  virtual bool StreamIsIdle(void* stream) = 0;
  // Frees the communicator; work of its that is queued or runs ends, with answers that mean nothing.
  virtual void Abort(void* handle) = 0;
};

// The installed library. Errors: UNIMPLEMENTED built without CUDA; NOT_FOUND no library, in the loader's words.
absl::StatusOr<std::unique_ptr<NcclApi>> OpenNccl();

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_NCCL_API_H_
