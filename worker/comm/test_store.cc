// Files appear by rename, so that nobody reads half a value.
#include "worker/comm/test_store.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace quire::worker {

std::string DirectoryStore::Path(std::string key) const {
  std::replace(key.begin(), key.end(), '/', '_');
  return absl::StrCat(directory_, "/", key);
}

absl::Status DirectoryStore::Put(const std::string& key, const std::string& value) {
  const std::string path = Path(key);
  const std::string part = absl::StrCat(path, ".part", getpid());
  std::ofstream(part, std::ios::binary) << value;
  return std::rename(part.c_str(), path.c_str()) == 0 ? absl::OkStatus() : absl::InternalError("rename " + path);
}

absl::StatusOr<std::string> DirectoryStore::Get(const std::string& key, absl::Duration timeout) {
  for (const absl::Time deadline = absl::Now() + timeout; absl::Now() < deadline;
       absl::SleepFor(absl::Milliseconds(1))) {
    std::ifstream file(Path(key), std::ios::binary);
    if (!file) continue;
    std::ostringstream value;
    value << file.rdbuf();
    return value.str();
  }
  return absl::DeadlineExceededError(key);
}

}  // namespace quire::worker
