// The keys of a running server: --api_key_file, read again whenever it is replaced.
//
// Threads: Authenticate and the counters on any; the file is read by the thread that opens the ring, later by the one
// of its FileWatch.
// Invariants:
//   R1  Authenticate sees the keys of one file, whole: before a change or after it.
//   R2  A new file that cannot be read or parsed changes nothing: the old keys stay valid, the log says why, and
//       failed_reloads counts it. A key that is gone from a good file opens no further call once it is read, within
//       kFileWatchPeriod; calls that run go on.
//   R3  How long a refusal takes says nothing about a secret: the id, which is none, finds the line; digests are
//       compared in constant time, and for an unknown id one is computed and compared as well.
#ifndef QUIRE_COORDINATOR_ACCESS_KEY_RING_H_
#define QUIRE_COORDINATOR_ACCESS_KEY_RING_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/access/file_watch.h"
#include "coordinator/access/key_file.h"

namespace quire::access {

class KeyRing final : public Authenticator {
 public:
  struct Counts {
    uint64_t reloads = 0;         // good files after the first
    uint64_t failed_reloads = 0;  // R2
    uint64_t refused = 0;         // calls without a good key
  };

  // Errors: those of ReadSmallFile and ParseKeyFile, with the path.
  static absl::StatusOr<std::unique_ptr<KeyRing>> Open(const std::string& path,
                                                       absl::Duration period = kFileWatchPeriod);

  absl::StatusOr<Caller> Authenticate(absl::string_view authorization) const override;

  Counts counts() const;
  size_t num_keys() const { return Table()->size(); }

 private:
  explicit KeyRing(std::string path) : path_(std::move(path)) {}

  absl::Status Read();
  void ReadAgain();
  std::shared_ptr<const KeyTable> Table() const;

  const std::string path_;
  absl::Mutex read_mu_;  // who read the file later also keeps the table later
  mutable absl::Mutex mu_;
  std::shared_ptr<const KeyTable> table_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> reloads_{0};
  std::atomic<uint64_t> failed_reloads_{0};
  mutable std::atomic<uint64_t> refused_{0};
  std::unique_ptr<FileWatch> watch_;  // last: its thread uses the rest
};

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_KEY_RING_H_
