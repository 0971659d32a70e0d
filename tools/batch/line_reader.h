// Reads a file line by line with a bound on the length of a line.
//
// One thread.
#ifndef QUIRE_TOOLS_BATCH_LINE_READER_H_
#define QUIRE_TOOLS_BATCH_LINE_READER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace quire::batch {

inline constexpr size_t kLineBytesMax = 64 << 20;

class LineReader {
 public:
  // Errors: kNotFound if the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<LineReader>> Open(const std::string& path);
  ~LineReader();

  // The next line without its end; false at the end of the file. Lines of white space alone are skipped.
  // Errors: kInvalidArgument for a line over kLineBytesMax, kInternal if reading fails; both name file and line.
  absl::StatusOr<bool> Next(std::string* line);

  // Of the line that came last, from 1.
  int64_t line_number() const { return line_number_; }
  // Whether the line that came last had an end: the last line of a file may be torn.
  bool complete() const { return complete_; }
  // Bytes of the file before the line that came last.
  int64_t line_begin() const { return line_begin_; }

 private:
  LineReader(std::string path, int fd);
  absl::StatusOr<bool> Fill();  // false at the end of the file
  absl::StatusOr<bool> ReadLine(std::string* line);

  const std::string path_;
  const int fd_;
  std::string buffer_;
  size_t used_ = 0;  // of the buffer
  int64_t line_number_ = 0;
  int64_t line_begin_ = 0;
  int64_t next_begin_ = 0;
  bool complete_ = true;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_LINE_READER_H_
