// Collectives through shared memory, between processes (or threads) of one host.
//
// A call copies the rank's data to its slot, meets the others at a barrier and adds all slots in rank order. Small
// calls, and all calls of two ranks, take one barrier: everyone adds everything. Large calls of more ranks take two:
// everyone adds a share, then copies the whole.
//
// Thread rule: compute thread; Abort from any thread.
// Invariants:
//   SH1  Slots alternate between calls. A rank that writes slot p of call k + 2 has passed the barrier of call k + 1,
//        which every rank entered after its last read of call k: so one barrier a call is enough.
//   SH2  A waiter spins for at most kSpin, then sleeps in the kernel: two ranks may share cores with each other and
//        with the coordinator.
//   SH3  A peer that has arrived has delivered, even if it dies or leaves afterwards: a wait fails only for a rank
//        that did not arrive.
#ifndef QUIRE_WORKER_COMM_SHM_COMMUNICATOR_H_
#define QUIRE_WORKER_COMM_SHM_COMMUNICATOR_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"
#include "worker/comm/shm_segment.h"

namespace quire::worker {

class ShmCommunicator final : public Communicator {
 public:
  // Forms the group. Errors: DEADLINE_EXCEEDED naming missing ranks; those of ShmSegment; FAILED_PRECONDITION if the
  // ranks are on different hosts.
  static absl::StatusOr<std::unique_ptr<Communicator>> Form(const CommunicatorOptions& options, RendezvousStore* store);
  ~ShmCommunicator() override;

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  const char* Name() const override { return "shm"; }
  absl::Status AllReduceSum(float* data, int64_t count) override;
  absl::Status AllGather(const float* in, float* out, int64_t count) override;
  void Abort() override;

 private:
  ShmCommunicator(const CommunicatorOptions& options, std::unique_ptr<ShmSegment> segment,
                  std::vector<int> peer_pidfds);

  void SumInOneStep(float* data, int64_t count);
  absl::Status SumByShares(float* data, int64_t count);
  absl::Status Barrier();
  absl::Status WaitFor(int peer);
  absl::Status SleepFor(int peer);
  bool Arrived(uint32_t word) const { return static_cast<int32_t>((word & ~1u) - sequence_) >= 0; }
  absl::Status Broken(int waiting_for);
  void BreakGroup(int culprit);
  // The dead rank among the peers, -1 if none.
  int DeadPeer() const;

  const int rank_;
  const int world_size_;
  const absl::Duration timeout_;
  const std::unique_ptr<ShmSegment> segment_;
  const std::vector<int> peer_pidfds_;  // by rank; -1 = cannot be watched, its death shows by timeout
  const int64_t spin_ns_;
  uint32_t sequence_ = 0;  // barriers entered, times two
  int parity_ = 0;
  absl::Status broken_;  // first error; every later call returns it
  std::atomic<bool> aborted_{false};
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_SHM_COMMUNICATOR_H_
