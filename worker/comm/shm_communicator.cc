// Barrier, one-step sum and shared sum over a ShmSegment. See the header for why one barrier is enough.
#include "worker/comm/shm_communicator.h"

#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "worker/comm/futex.h"
#include "worker/comm/host_id.h"
#include "worker/comm/ordered_sum.h"
#include "worker/comm/presence.h"

namespace quire::worker {
namespace {

constexpr int64_t kSpinNs = 20'000;  // about twice what a wake-up by the kernel costs
// A sleeper looks for dead peers this often.
constexpr absl::Duration kSleepSlice = absl::Milliseconds(20);
// Up to here every rank adds everything even in groups of more than two: a second barrier costs more than the reading.
constexpr int64_t kOneStepElements = 8 << 10;

int NumUsableCpus() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
}

void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

// What a rank tells the others: "host pid-namespace pid [segment]".
std::string Introduce(const std::string& segment_name) {
  return absl::StrCat(HostId(), " ", PidNamespaceId(), " ", getpid(), " ", segment_name);
}

// A descriptor that becomes readable when the peer dies, reaped or not; -1 if its process ids mean nothing here.
int WatchPeer(const std::vector<std::string>& introduction) {
  int pid = 0;
  if (introduction[1] != PidNamespaceId() || !absl::SimpleAtoi(introduction[2], &pid) || pid == getpid()) return -1;
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> ShmCommunicator::Form(const CommunicatorOptions& options,
                                                                    RendezvousStore* store) {
  if (options.world_size > ShmSegment::kMaxRanks) {
    return absl::InvalidArgumentError(
        absl::StrCat("shm: world_size ", options.world_size, " is over the limit of ", ShmSegment::kMaxRanks));
  }
  std::unique_ptr<ShmSegment> segment;
  std::string name;
  if (options.rank == 0) {
    absl::StatusOr<std::unique_ptr<ShmSegment>> made = ShmSegment::Create(options.world_size);
    if (!made.ok()) return made.status();
    segment = *std::move(made);
    name = segment->name();
  }
  PresenceOptions presence = {absl::StrCat(options.name, "/there"), options.rank, options.world_size, options.timeout};
  absl::StatusOr<std::vector<std::string>> there = ExchangePresence(presence, Introduce(name), store);
  if (!there.ok()) return there.status();
  std::vector<std::vector<std::string>> introductions;
  for (int r = 0; r < options.world_size; ++r) {
    introductions.push_back(absl::StrSplit((*there)[r], ' '));
    if (introductions[r].size() != 4 || introductions[r][0] != introductions[0][0]) {
      return absl::FailedPreconditionError(absl::StrCat("rank ", r, " does not share memory with rank 0 (", (*there)[r],
                                                        " against ", (*there)[0], "): use gloo"));
    }
  }
  if (options.rank != 0) {
    absl::StatusOr<std::unique_ptr<ShmSegment>> opened = ShmSegment::Open(introductions[0][3], options.world_size);
    if (!opened.ok()) return opened.status();
    segment = *std::move(opened);
  }
  presence.prefix = absl::StrCat(options.name, "/mapped");
  if (auto mapped = ExchangePresence(presence, "", store); !mapped.ok()) return mapped.status();
  segment->Unlink();
  std::vector<int> pidfds(options.world_size, -1);
  for (int r = 0; r < options.world_size; ++r) pidfds[r] = WatchPeer(introductions[r]);
  return std::unique_ptr<Communicator>(new ShmCommunicator(options, std::move(segment), std::move(pidfds)));
}

ShmCommunicator::ShmCommunicator(const CommunicatorOptions& options, std::unique_ptr<ShmSegment> segment,
                                 std::vector<int> peer_pidfds)
    : rank_(options.rank),
      world_size_(options.world_size),
      timeout_(options.timeout),
      segment_(std::move(segment)),
      peer_pidfds_(std::move(peer_pidfds)),
      spin_ns_(NumUsableCpus() >= options.world_size ? kSpinNs : 0) {}

ShmCommunicator::~ShmCommunicator() {
  BreakGroup(rank_);  // who leaves tells the others; SH3 keeps what they still had to read valid
  for (int fd : peer_pidfds_) {
    if (fd >= 0) close(fd);
  }
}

absl::Status ShmCommunicator::AllReduceSum(float* data, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += ShmSegment::kSlotElements) {
    const int64_t n = std::min(ShmSegment::kSlotElements, count - begin);
    parity_ ^= 1;
    std::memcpy(segment_->slot(parity_, rank_), data + begin, n * sizeof(float));
    if (absl::Status s = Barrier(); !s.ok()) return s;
    if (world_size_ <= 2 || n <= kOneStepElements) {
      SumInOneStep(data + begin, n);
    } else if (absl::Status s = SumByShares(data + begin, n); !s.ok()) {
      return s;
    }
  }
  return broken_;
}

void ShmCommunicator::SumInOneStep(float* data, int64_t count) {
  const float* in[ShmSegment::kMaxRanks];
  for (int r = 0; r < world_size_; ++r) in[r] = r == rank_ ? data : segment_->slot(parity_, r);
  OrderedSum(in, world_size_, data, count);
}

absl::Status ShmCommunicator::SumByShares(float* data, int64_t count) {
  // Shares begin at cache lines, so that two ranks never write the same one.
  const int64_t share = ((count + world_size_ - 1) / world_size_ + 31) / 32 * 32;
  const int64_t begin = std::min(count, share * rank_);
  const int64_t n = std::min(share, count - begin);
  const float* in[ShmSegment::kMaxRanks];
  for (int r = 0; r < world_size_; ++r) in[r] = segment_->slot(parity_, r) + begin;
  OrderedSum(in, world_size_, segment_->result() + begin, n);
  // One result buffer is enough: nobody writes it again before the first barrier of the next call, which all enter
  // after this copy.
  if (absl::Status s = Barrier(); !s.ok()) return s;
  std::memcpy(data, segment_->result(), count * sizeof(float));
  return absl::OkStatus();
}

absl::Status ShmCommunicator::AllGather(const float* in, float* out, int64_t count) {
  for (int64_t begin = 0; begin < count; begin += ShmSegment::kSlotElements) {
    const int64_t n = std::min(ShmSegment::kSlotElements, count - begin);
    parity_ ^= 1;
    std::memcpy(segment_->slot(parity_, rank_), in + begin, n * sizeof(float));
    if (absl::Status s = Barrier(); !s.ok()) return s;
    for (int r = 0; r < world_size_; ++r) {
      float* to = out + r * count + begin;
      if (r != rank_) {
        std::memcpy(to, segment_->slot(parity_, r), n * sizeof(float));
      } else if (to != in + begin) {
        std::memmove(to, in + begin, n * sizeof(float));
      }
    }
  }
  return broken_;
}

absl::Status ShmCommunicator::Barrier() {
  if (broken_.ok() && aborted_) broken_ = absl::CancelledError("collective aborted");
  if (!broken_.ok()) return broken_;
  sequence_ += 2;
  ShmSegment::RankLine& own = segment_->header()->lines[rank_];
  // Sequentially consistent on both sides: either this rank sees the sleeper, or the sleeper sees the arrival before it
  // sleeps.
  own.arrived.fetch_add(2);
  if (own.waiters.load() != 0) FutexWakeAll(&own.arrived);
  for (int peer = 0; peer < world_size_; ++peer) {
    if (peer == rank_) continue;
    if (absl::Status s = WaitFor(peer); !s.ok()) return broken_ = s;
  }
  return absl::OkStatus();
}

absl::Status ShmCommunicator::WaitFor(int peer) {
  const std::atomic<uint32_t>& word = segment_->header()->lines[peer].arrived;
  if (Arrived(word.load(std::memory_order_acquire))) return absl::OkStatus();
  const int64_t until = absl::GetCurrentTimeNanos() + spin_ns_;
  do {
    for (int i = 0; i < 16; ++i) {
      if (Arrived(word.load(std::memory_order_acquire))) return absl::OkStatus();
      CpuRelax();
    }
  } while (absl::GetCurrentTimeNanos() < until);
  return SleepFor(peer);
}

absl::Status ShmCommunicator::SleepFor(int peer) {
  ShmSegment::RankLine& line = segment_->header()->lines[peer];
  const absl::Time deadline = absl::Now() + timeout_;
  absl::Status status;
  line.waiters.fetch_add(1);
  for (;;) {
    const uint32_t seen = line.arrived.load();
    if (Arrived(seen)) break;
    if ((seen & 1) != 0) {
      status = Broken(peer);
      break;
    }
    if (const int dead = DeadPeer(); dead >= 0) {
      // It may have arrived and died since `seen` was read.
      if (!Arrived(line.arrived.load())) BreakGroup(dead);
      continue;
    }
    if (absl::Now() >= deadline) {
      BreakGroup(peer);
      continue;
    }
    FutexWait(&line.arrived, seen, kSleepSlice);
  }
  line.waiters.fetch_sub(1);
  return status;
}

absl::Status ShmCommunicator::Broken(int waiting_for) {
  if (aborted_) return absl::CancelledError("collective aborted");
  const int culprit = segment_->header()->culprit.load();
  return absl::UnavailableError(absl::StrCat(
      "shm collective: rank ", culprit, " of ", world_size_, " is gone, hung for ", absl::FormatDuration(timeout_),
      " or left the group (rank ", rank_, " waited for rank ", waiting_for, ")"));
}

void ShmCommunicator::BreakGroup(int culprit) {
  ShmSegment::Header* header = segment_->header();
  int none = -1;
  header->culprit.compare_exchange_strong(none, culprit);
  for (int r = 0; r < world_size_; ++r) {
    header->lines[r].arrived.fetch_or(1);
    FutexWakeAll(&header->lines[r].arrived);
  }
}

int ShmCommunicator::DeadPeer() const {
  for (int r = 0; r < world_size_; ++r) {
    if (peer_pidfds_[r] < 0) continue;
    pollfd p = {peer_pidfds_[r], POLLIN, 0};
    if (poll(&p, 1, 0) == 1) return r;
  }
  return -1;
}

void ShmCommunicator::Abort() {
  aborted_ = true;
  BreakGroup(rank_);
}

}  // namespace quire::worker
