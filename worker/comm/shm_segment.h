// The shared memory of one group on one host: a header, a line per rank and the data slots. Made by rank 0, mapped by
// all, unlinked at once.
//
// Thread rule: none of its own; the words are atomics, the slots are handed over by the barrier of shm_communicator.
// Invariants:
//   S1  The segment has a name only while the group forms; when the last process unmaps it, it is gone. Rank 0 holds a
//       lock on it as long as it has a name: a name without a lock was left by a rank 0 that was killed while it
//       formed, and the next Create takes it away.
//   S2  Its pages are reserved when it is made: a full /dev/shm is an error then, never a SIGBUS later.
#ifndef QUIRE_WORKER_COMM_SHM_SEGMENT_H_
#define QUIRE_WORKER_COMM_SHM_SEGMENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace quire::worker {

class ShmSegment final {
 public:
  static constexpr int kMaxRanks = 64;
  static constexpr int64_t kSlotElements = 64 << 10;  // f32; one chunk of a large collective

  // What one rank shows the others. `arrived`: bit 0 = the group is broken, the rest counts this rank's barriers and
  // wraps.
  struct alignas(128) RankLine {
    std::atomic<uint32_t> arrived{0};
    std::atomic<uint32_t> waiters{0};  // ranks asleep on `arrived`
  };

  struct alignas(128) Header {
    uint64_t magic = 0;
    int32_t world_size = 0;
    std::atomic<int32_t> culprit{-1};  // rank that died, hung or left; -1 = none
    RankLine lines[kMaxRanks];
  };

  // Makes the segment under a name that nobody uses (returned by name()).
  // Errors: RESOURCE_EXHAUSTED with the bytes wanted if shared memory is full; INTERNAL what the system said.
  static absl::StatusOr<std::unique_ptr<ShmSegment>> Create(int world_size);

  // Maps the segment that rank 0 made. Errors: FAILED_PRECONDITION another size, owner or layout; NOT_FOUND.
  static absl::StatusOr<std::unique_ptr<ShmSegment>> Open(const std::string& name, int world_size);

  ~ShmSegment();
  ShmSegment(const ShmSegment&) = delete;
  ShmSegment& operator=(const ShmSegment&) = delete;

  // Takes the name away; the memory stays as long as it is mapped. Idempotent.
  void Unlink();

  const std::string& name() const { return name_; }
  Header* header() const { return static_cast<Header*>(base_); }
  // Where `rank` puts its data in a call of the given parity; kSlotElements.
  float* slot(int parity, int rank) const;
  // Where the ranks put their shares of a large sum; kSlotElements.
  float* result() const;

 private:
  ShmSegment(std::string name, int world_size) : name_(std::move(name)), world_size_(world_size) {}
  absl::Status Map(int fd);

  const std::string name_;
  const int world_size_;
  int lock_fd_ = -1;  // rank 0 only, until Unlink
  void* base_ = nullptr;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_SHM_SEGMENT_H_
