// The collectives of one tensor-parallel group. Production: single, shm (one host), gloo (across hosts), nccl (GPUs,
// which holds C2 but for its order of sums: NC4 of nccl_communicator.h).
//
// Thread rule: the rank's compute thread only; Abort from any thread.
// Invariants:
//   C1  Every rank makes the same calls with the same sizes in the same order (the plan says all).
//   C2  AllReduceSum adds every element in one tree over the ranks, ((0 + 1) + (2 + 3)) + ..., so that all ranks hold
//       the same bits, every time, and as many as half the ranks would.
//   C3  After an error or Abort every later call fails at once; the group must be formed anew.
#ifndef QUIRE_WORKER_COMM_COMMUNICATOR_H_
#define QUIRE_WORKER_COMM_COMMUNICATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::worker {

// Exchange of small values between ranks while a group forms; the service implements it over the worker protocol
// (StorePut).
class RendezvousStore {
 public:
  virtual ~RendezvousStore() = default;
  virtual absl::Status Put(const std::string& key, const std::string& value) = 0;
  // Blocks until some rank has put the key. Errors: DEADLINE_EXCEEDED, CANCELLED when the session ends.
  virtual absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) = 0;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  virtual const char* Name() const = 0;  // single | shm | gloo | nccl

  // data[i] = sum over ranks, in place. Units: elements. Errors: UNAVAILABLE a rank is gone or hung past the timeout;
  // CANCELLED after Abort.
  virtual absl::Status AllReduceSum(float* data, int64_t count) = 0;

  // out[r * count + i] = rank r's in[i]; out holds world_size * count elements; in may lie inside out at its own place.
  virtual absl::Status AllGather(const float* in, float* out, int64_t count) = 0;

  // After the device was synchronized: the error of collectives that were only queued when their calls returned. Where
  // calls return with their result there is none.
  virtual absl::Status Finished() { return absl::OkStatus(); }

  // Makes a blocked call on any thread return CANCELLED within milliseconds.
  virtual void Abort() = 0;
};

struct CommunicatorOptions {
  std::string kind;  // single | shm | gloo | nccl
  int rank = 0;
  int world_size = 1;
  std::string name;                            // unique per formation: shm segment, gloo prefix
  std::string listen_host;                     // gloo: address that the other ranks can dial
  absl::Duration timeout = absl::Seconds(30);  // of one call, and of forming
  void* stream = nullptr;                      // nccl: the device's queue that computes (Backend::compute_queue)
};

// Blocks until all ranks are there. Errors: INVALID_ARGUMENT unknown kind; DEADLINE_EXCEEDED with the ranks that are
// missing.
absl::StatusOr<std::unique_ptr<Communicator>> CreateCommunicator(const CommunicatorOptions& options,
                                                                 RendezvousStore* store);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_COMMUNICATOR_H_
