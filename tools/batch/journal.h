// An output file that survives being killed: lines are appended whole, and what was written before is found again.
//
// Threads: Open on one; Append and Sync on any.
// Invariants:
//   J1  The file is a sequence of whole lines after Open: what a kill or a power cut tore off at its end is cut away.
//   J2  A line that Append has taken survives the end of this process; after a Sync, or `sync_interval` later when
//       lines go on coming, also the end of the machine's power.
//   J3  Nobody else appends meanwhile: the file is locked.
#ifndef QUIRE_TOOLS_BATCH_JOURNAL_H_
#define QUIRE_TOOLS_BATCH_JOURNAL_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "tools/batch/id_set.h"

namespace quire::batch {

class Journal {
 public:
  // Opens or makes the file and adds the custom_ids of its lines to `done`. Errors: kFailedPrecondition if another
  // process has it, or a line other than the last is not one of ours (the file is left as it is); kInternal.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& path, absl::Duration sync_interval,
                                                       IdSet* done);
  ~Journal();

  // Requires: `line` ends with its only '\n'. Errors: kInternal (disk full, ...): the file may end with a torn line.
  absl::Status Append(absl::string_view line) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Sync() ABSL_LOCKS_EXCLUDED(mutex_);

  // Removes the file if no line is in it. Nothing is appended afterwards.
  void RemoveIfEmpty() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  Journal(std::string path, int fd, absl::Duration sync_interval);
  absl::Status SyncLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const int fd_;
  const absl::Duration sync_interval_;
  absl::Mutex mutex_;
  absl::Time synced_ ABSL_GUARDED_BY(mutex_);
  bool dirty_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_JOURNAL_H_
