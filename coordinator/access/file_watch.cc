// Polling of what identifies a file's content. See file_watch.h.
#include "coordinator/access/file_watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::access {
namespace {

// Another value whenever a file was replaced or written to. The inode alone may come back; the change time cannot be
// set by hand.
std::string Fingerprint(const std::vector<std::string>& paths) {
  std::string all;
  for (const std::string& path : paths) {
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) {
      absl::StrAppend(&all, "errno ", errno, ";");
      continue;
    }
    absl::StrAppend(&all, info.st_dev, ",", info.st_ino, ",", info.st_size, ",", info.st_mtim.tv_sec, ",",
                    info.st_mtim.tv_nsec, ",", info.st_ctim.tv_sec, ",", info.st_ctim.tv_nsec, ";");
  }
  return all;
}

}  // namespace

FileWatch::FileWatch(std::vector<std::string> paths, std::function<void()> on_change, absl::Duration period)
    : paths_(std::move(paths)), on_change_(std::move(on_change)) {
  thread_ = std::thread([this, seen = Fingerprint(paths_), period] { Run(seen, period); });
}

FileWatch::~FileWatch() {
  stopping_.Notify();
  thread_.join();
}

void FileWatch::Run(std::string seen, absl::Duration period) {
  while (!stopping_.WaitForNotificationWithTimeout(period)) {
    std::string now = Fingerprint(paths_);
    if (now == seen) continue;
    // Taken before the files are read: a change in between is seen at the next look (F1).
    seen = std::move(now);
    on_change_();
  }
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t bytes_max) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe without a writer must not hold us
  if (fd < 0) {
    const std::string why = absl::StrCat(path, ": ", strerror(errno));
    return errno == ENOENT ? absl::NotFoundError(why) : absl::FailedPreconditionError(why);
  }
  std::string content(bytes_max + 1, '\0');
  size_t size = 0;
  ssize_t got = 1;
  while (got != 0 && size < content.size()) {
    got = read(fd, &content[size], content.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    size += static_cast<size_t>(got);
  }
  const int error = errno;
  close(fd);
  if (got < 0) return absl::FailedPreconditionError(absl::StrCat(path, ": ", strerror(error)));
  if (size > bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat(path, " has more than the ", bytes_max, " bytes allowed"));
  }
  content.resize(size);
  return content;
}

}  // namespace quire::access
