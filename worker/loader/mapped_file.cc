#include "worker/loader/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glog/logging.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace quire::worker {
namespace {

absl::Status ErrnoStatus(const std::string& path, const char* what, int error) {
  const std::string text = absl::StrCat(path, ": cannot ", what, ": ", strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(text);
  if (error == EACCES || error == EPERM) return absl::PermissionDeniedError(text);
  return absl::UnavailableError(text);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // Not blocking: opening a pipe that nobody writes to would wait for ever.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(path, "open", errno);
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  }
  void* data = nullptr;
  if (info.st_size > 0) {
    // Shared, so that the ranks of one host read one copy out of the page cache.
    data = mmap(nullptr, info.st_size, PROT_READ, MAP_SHARED, fd, 0);
  }
  const int error = errno;
  close(fd);
  if (data == MAP_FAILED) return ErrnoStatus(path, "map", error);
  return std::unique_ptr<MappedFile>(new MappedFile(path, static_cast<uint8_t*>(data), info.st_size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

void MappedFile::Prefetch(const uint8_t* begin, int64_t bytes) const { Advise(begin, bytes, MADV_WILLNEED); }

void MappedFile::DropPages(const uint8_t* begin, int64_t bytes) const { Advise(begin, bytes, MADV_DONTNEED); }

void MappedFile::Advise(const uint8_t* begin, int64_t bytes, int advice) const {
  CHECK(begin >= data_ && bytes >= 0 && begin + bytes <= data_ + size_)
      << path_ << ": " << bytes << " bytes outside of the mapping";
  if (bytes == 0) return;
  const uintptr_t page = sysconf(_SC_PAGESIZE);
  const uintptr_t first = reinterpret_cast<uintptr_t>(begin) / page * page;
  const uintptr_t last = reinterpret_cast<uintptr_t>(begin) + bytes;
  // Only advice: dropped neighbours on the border pages fault in again, and a refusal costs time or memory, no more.
  madvise(reinterpret_cast<void*>(first), last - first, advice);
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", (*file)->size(), " bytes, more than the limit of ", max_bytes));
  }
  return std::string(reinterpret_cast<const char*>((*file)->data()), (*file)->size());
}

}  // namespace quire::worker
