#include "tools/batch/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tools/batch/batch_line.h"
#include "tools/batch/line_reader.h"

namespace quire::batch {
namespace {

absl::Status Failed(const std::string& path, const char* what) {
  return absl::InternalError(absl::StrCat(path, ": ", what, ": ", strerror(errno)));
}

// Reads what is there into `done` and returns how many bytes of it are whole lines.
absl::StatusOr<int64_t> Recover(const std::string& path, IdSet* done) {
  absl::StatusOr<std::unique_ptr<LineReader>> reader = LineReader::Open(path);
  if (!reader.ok()) return reader.status();
  std::string line;
  int64_t whole = 0;
  while (true) {
    const absl::StatusOr<bool> found = (*reader)->Next(&line);
    if (!found.ok()) return found.status();
    if (!*found) return whole;
    if (!(*reader)->complete()) return (*reader)->line_begin();  // torn
    const absl::StatusOr<std::string> id = CustomIdOfOutput(line);
    if (!id.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(path, ":", (*reader)->line_number(), ": not an output line: ",
                                                        id.status().message(), "; is this the right file?"));
    }
    if (!done->Insert(*id)) {
      return absl::FailedPreconditionError(
          absl::StrCat(path, ":", (*reader)->line_number(), ": custom_id '", *id, "' is answered already"));
    }
    whole = (*reader)->line_begin() + static_cast<int64_t>(line.size()) + 1;
  }
}

}  // namespace

Journal::Journal(std::string path, int fd, absl::Duration sync_interval)
    : path_(std::move(path)), fd_(fd), sync_interval_(sync_interval), synced_(absl::Now()) {}

Journal::~Journal() { close(fd_); }

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::string& path, absl::Duration sync_interval,
                                                       IdSet* done) {
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return Failed(path, "open");
  std::unique_ptr<Journal> journal(new Journal(path, fd, sync_interval));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": another process is writing it"));
  }
  const absl::StatusOr<int64_t> whole = Recover(path, done);
  if (!whole.ok()) return whole.status();
  if (ftruncate(fd, *whole) != 0) return Failed(path, "truncate");
  return journal;
}

absl::Status Journal::Append(absl::string_view line) {
  absl::MutexLock lock(&mutex_);
  while (!line.empty()) {
    const ssize_t n = write(fd_, line.data(), line.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed(path_, "write");
    line.remove_prefix(static_cast<size_t>(n));
  }
  dirty_ = true;
  return absl::Now() - synced_ >= sync_interval_ ? SyncLocked() : absl::OkStatus();
}

absl::Status Journal::Sync() {
  absl::MutexLock lock(&mutex_);
  return SyncLocked();
}

void Journal::RemoveIfEmpty() {
  absl::MutexLock lock(&mutex_);
  struct stat info;
  if (fstat(fd_, &info) == 0 && info.st_size == 0) unlink(path_.c_str());
}

absl::Status Journal::SyncLocked() {
  if (dirty_ && fdatasync(fd_) != 0 && errno != EINVAL) return Failed(path_, "fdatasync");
  dirty_ = false;
  synced_ = absl::Now();
  return absl::OkStatus();
}

}  // namespace quire::batch
