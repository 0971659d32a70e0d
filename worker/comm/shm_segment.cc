// POSIX shared memory: create, open, check, unlink. See the header for the invariants.
#include "worker/comm/shm_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace quire::worker {
namespace {

constexpr char kNamePrefix[] = "/quire-";
constexpr time_t kAbandonedSeconds = 60;
constexpr uint64_t kMagic = 0x5155495245000001;  // "QUIRE", layout 1
static_assert(std::atomic<uint32_t>::is_always_lock_free, "shared between processes");

int64_t SegmentBytes(int world_size) {
  return static_cast<int64_t>(sizeof(ShmSegment::Header)) +
         (2 * world_size + 1) * ShmSegment::kSlotElements * static_cast<int64_t>(sizeof(float));
}

std::string SystemError(const char* what, const std::string& name, int error) {
  return absl::StrCat(what, " ", name, ": ", std::strerror(error));
}

// Takes away what killed ranks left (S1). A young segment may be about to be locked.
void RemoveAbandoned() {
  DIR* directory = opendir("/dev/shm");
  if (directory == nullptr) return;
  while (const dirent* entry = readdir(directory)) {
    if (std::strncmp(entry->d_name, kNamePrefix + 1, sizeof(kNamePrefix) - 2) != 0) continue;
    const std::string name = absl::StrCat("/", entry->d_name);
    const int fd = shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) continue;
    struct stat st = {};
    const bool old = fstat(fd, &st) == 0 && st.st_uid == geteuid() && time(nullptr) - st.st_mtime > kAbandonedSeconds;
    if (old && flock(fd, LOCK_EX | LOCK_NB) == 0) shm_unlink(name.c_str());
    close(fd);
  }
  closedir(directory);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Create(int world_size) {
  RemoveAbandoned();
  uint64_t nonce[2];
  if (getrandom(nonce, sizeof(nonce), 0) != sizeof(nonce)) return absl::InternalError("getrandom failed");
  std::string name = absl::StrFormat("%s%016x%016x", kNamePrefix, nonce[0], nonce[1]);
  const int fd = shm_open(name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return absl::InternalError(SystemError("cannot create shared memory", name, errno));
  std::unique_ptr<ShmSegment> segment(new ShmSegment(std::move(name), world_size));
  segment->lock_fd_ = fd;
  flock(fd, LOCK_SH);
  const int64_t bytes = SegmentBytes(world_size);
  if (const int error = posix_fallocate(fd, 0, bytes); error != 0) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the ranks need ", bytes, " bytes of shared memory: ", SystemError("cannot reserve", segment->name_, error),
        " (is /dev/shm too small for this container?)"));
  }
  if (absl::Status s = segment->Map(fd); !s.ok()) return s;
  Header* header = new (segment->base_) Header();
  header->world_size = world_size;
  header->magic = kMagic;
  return segment;
}

absl::StatusOr<std::unique_ptr<ShmSegment>> ShmSegment::Open(const std::string& name, int world_size) {
  const int fd = shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) {
    return absl::NotFoundError(absl::StrCat(SystemError("cannot open shared memory", name, errno),
                                            " (ranks on different hosts need --collective=gloo)"));
  }
  struct stat st = {};
  if (fstat(fd, &st) != 0 || st.st_size != SegmentBytes(world_size) || st.st_uid != geteuid()) {
    close(fd);
    return absl::FailedPreconditionError(absl::StrCat("shared memory ", name, " has ", st.st_size, " bytes of user ",
                                                      st.st_uid, ", wanted ", SegmentBytes(world_size), " of ",
                                                      geteuid()));
  }
  std::unique_ptr<ShmSegment> segment(new ShmSegment(name, world_size));
  const absl::Status mapped = segment->Map(fd);
  close(fd);
  if (!mapped.ok()) return mapped;
  const Header* header = segment->header();
  if (header->magic != kMagic || header->world_size != world_size) {
    return absl::FailedPreconditionError(absl::StrCat("shared memory ", name, " has another layout: ", header->magic,
                                                      " for ", header->world_size, " ranks, wanted ", kMagic, " for ",
                                                      world_size));
  }
  return segment;
}

absl::Status ShmSegment::Map(int fd) {
  void* base = mmap(nullptr, SegmentBytes(world_size_), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return absl::InternalError(SystemError("cannot map shared memory", name_, errno));
  base_ = base;
  return absl::OkStatus();
}

ShmSegment::~ShmSegment() {
  Unlink();
  if (base_ != nullptr) munmap(base_, SegmentBytes(world_size_));
}

void ShmSegment::Unlink() {
  if (lock_fd_ < 0) return;
  shm_unlink(name_.c_str());
  close(std::exchange(lock_fd_, -1));
}

float* ShmSegment::slot(int parity, int rank) const {
  float* data = reinterpret_cast<float*>(static_cast<char*>(base_) + sizeof(Header));
  return data + (static_cast<int64_t>(parity) * world_size_ + rank) * kSlotElements;
}

float* ShmSegment::result() const { return slot(2, 0); }

}  // namespace quire::worker
