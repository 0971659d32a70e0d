#include "tests/fuzz/fuzz_target.h"

#include <glog/logging.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace quire::fuzz {
namespace {

int64_t g_num_accepted = 0;

class Scratch {
 public:
  Scratch() {
    const char* parent = getenv("TEST_TMPDIR");
    if (access("/dev/shm", W_OK) == 0) parent = "/dev/shm";  // a disk makes ten seconds of what takes one
    if (parent == nullptr) parent = "/tmp";
    path_ = std::string(parent) + "/quire_fuzz_XXXXXX";
    CHECK(mkdtemp(path_.data()) != nullptr) << path_;
  }
  ~Scratch() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

std::vector<absl::string_view> SplitInput(const uint8_t* data, size_t size, int count) {
  absl::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<absl::string_view> files;
  while (static_cast<int>(files.size()) + 1 < count) {
    const size_t end = rest.find(kSeparator);
    files.push_back(rest.substr(0, end));
    rest = end == absl::string_view::npos ? absl::string_view() : rest.substr(end + kSeparator.size());
  }
  files.push_back(rest);
  return files;
}

void NoteAccepted() { ++g_num_accepted; }
int64_t NumAccepted() { return g_num_accepted; }

const std::string& ScratchDirectory() {
  static const Scratch scratch;
  return scratch.path();
}

void WriteScratch(const std::string& name, absl::string_view text, bool keep_empty) {
  const std::string path = ScratchDirectory() + "/" + name;
  if (text.empty() && !keep_empty) {
    std::error_code error;
    std::filesystem::remove(path, error);
    return;
  }
  std::ofstream stream(path, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  CHECK(stream.good()) << path;
}

}  // namespace quire::fuzz
