// Containers of one host may have /dev/shm file systems and process ids of their own: both are part of the answer.
#include "worker/comm/host_id.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"

namespace quire::worker {

std::string HostId() {
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  if (boot.empty()) {
    char host[256] = {};
    if (gethostname(host, sizeof(host) - 1) == 0) boot = host;
  }
  struct stat st = {};
  const bool has_shm = stat("/dev/shm", &st) == 0;
  return absl::StrCat(boot, ":", has_shm ? st.st_dev : 0);
}

std::string PidNamespaceId() {
  char link[128] = {};
  const ssize_t size = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);
  return size > 0 ? std::string(link, size) : absl::StrCat("unknown:", getpid());
}

}  // namespace quire::worker
