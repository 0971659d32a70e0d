// Notices that files were replaced: a thread looks at them at intervals, since mounted ConfigMaps and Secrets change by
// swapping a symbolic link several directories up, which change notifications do not follow.
//
// Threads: one of its own, which alone calls `on_change`.
// Invariants:
//   F1  `on_change` runs once at least after the last change of any of the files, one call at a time.
//   F2  Nothing runs after the destructor returned.
#ifndef QUIRE_COORDINATOR_ACCESS_FILE_WATCH_H_
#define QUIRE_COORDINATOR_ACCESS_FILE_WATCH_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace quire::access {

inline constexpr absl::Duration kFileWatchPeriod = absl::Seconds(2);

class FileWatch {
 public:
  // A file that is not there is a state like any other. Requires: what `on_change` reads was read, if at all, after the
  // construction began or is unchanged since; so watch first, then read.
  FileWatch(std::vector<std::string> paths, std::function<void()> on_change, absl::Duration period = kFileWatchPeriod);
  ~FileWatch();

 private:
  void Run(std::string seen, absl::Duration period);

  const std::vector<std::string> paths_;
  const std::function<void()> on_change_;
  absl::Notification stopping_;
  std::thread thread_;
};

// At most `bytes_max` bytes of a file, in one piece. Errors: NOT_FOUND or FAILED_PRECONDITION with the path and the
// system's word; RESOURCE_EXHAUSTED it is longer.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, size_t bytes_max);

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_FILE_WATCH_H_
