// One file, mapped read-only for as long as this object lives.
//
// Thread rule: Open on one thread; afterwards any thread may read.
// Invariants:
//   F1  data() covers exactly the size that the file had at Open. Reading a file that was cut short afterwards raises
//       SIGBUS: model files must not be edited in place while they are served (replace them by rename).
#ifndef QUIRE_WORKER_LOADER_MAPPED_FILE_H_
#define QUIRE_WORKER_LOADER_MAPPED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quire::worker {

class MappedFile final {
 public:
  // Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT not a regular file, each with the path.
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  const uint8_t* data() const { return data_; }
  int64_t size() const { return size_; }

  // Starts reading [begin, begin + bytes) from the disk, without waiting. Requires: a range of this file.
  void Prefetch(const uint8_t* begin, int64_t bytes) const;

  // Gives back the resident pages of [begin, begin + bytes); later reads fault them in again. Requires: a range of this
  // file.
  void DropPages(const uint8_t* begin, int64_t bytes) const;

 private:
  MappedFile(std::string path, uint8_t* data, int64_t size) : path_(std::move(path)), data_(data), size_(size) {}

  void Advise(const uint8_t* begin, int64_t bytes, int advice) const;

  const std::string path_;
  uint8_t* const data_;  // null iff the file is empty
  const int64_t size_;
};

// The whole text of a small file. Errors: as Open; INVALID_ARGUMENT more than max_bytes, with both sizes.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_MAPPED_FILE_H_
