#include "tools/batch/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace quire::batch {
namespace {

constexpr size_t kReadBytes = 1 << 18;

}  // namespace

LineReader::LineReader(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}

LineReader::~LineReader() { close(fd_); }

absl::StatusOr<std::unique_ptr<LineReader>> LineReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::NotFoundError(absl::StrCat(path, ": ", strerror(errno)));
  return std::unique_ptr<LineReader>(new LineReader(path, fd));
}

absl::StatusOr<bool> LineReader::Fill() {
  buffer_.resize(kReadBytes);
  used_ = 0;
  ssize_t n = 0;
  do {
    n = read(fd_, buffer_.data(), buffer_.size());
  } while (n < 0 && errno == EINTR);
  buffer_.resize(n > 0 ? static_cast<size_t>(n) : 0);
  if (n < 0) return absl::InternalError(absl::StrCat(path_, ": ", strerror(errno)));
  return n > 0;
}

absl::StatusOr<bool> LineReader::ReadLine(std::string* line) {
  line->clear();
  line_begin_ = next_begin_;
  complete_ = false;
  while (true) {
    if (used_ == buffer_.size()) {
      const absl::StatusOr<bool> more = Fill();
      if (!more.ok()) return more;
      if (!*more) break;
    }
    const size_t end = buffer_.find('\n', used_);
    const size_t stop = end == std::string::npos ? buffer_.size() : end;
    if (line->size() + (stop - used_) > kLineBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat(path_, ":", line_number_ + 1, ": the line has more than ", kLineBytesMax, " bytes"));
    }
    line->append(buffer_, used_, stop - used_);
    used_ = stop;
    if (end == std::string::npos) continue;
    ++used_;
    complete_ = true;
    break;
  }
  if (!complete_ && line->empty()) return false;
  ++line_number_;
  next_begin_ = line_begin_ + static_cast<int64_t>(line->size()) + (complete_ ? 1 : 0);
  return true;
}

absl::StatusOr<bool> LineReader::Next(std::string* line) {
  while (true) {
    const absl::StatusOr<bool> found = ReadLine(line);
    if (!found.ok() || !*found) return found;
    if (!absl::StripAsciiWhitespace(*line).empty()) return true;
  }
}

}  // namespace quire::batch
