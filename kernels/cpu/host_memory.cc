#include "kernels/cpu/host_memory.h"

#include <glog/logging.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace quire::kernels::cpu {
namespace {

constexpr int64_t kHugePageBytes = int64_t{2} << 20;

class MappedBuffer final : public Buffer {
 public:
  MappedBuffer(void* map, int64_t map_bytes, void* data, int64_t bytes)
      : map_(map), map_bytes_(map_bytes), data_(data), bytes_(bytes) {}
  ~MappedBuffer() override { PCHECK(munmap(map_, map_bytes_) == 0); }
  MappedBuffer(const MappedBuffer&) = delete;
  MappedBuffer& operator=(const MappedBuffer&) = delete;

  void* data() const override { return data_; }
  int64_t size_bytes() const override { return bytes_; }

 private:
  void* const map_;
  const int64_t map_bytes_;
  void* const data_;
  const int64_t bytes_;
};

// A number in a one-line file; -1 if there is none ("max" of a cgroup without limit).
int64_t NumberInFile(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  int64_t value = 0;
  return (file >> word) && absl::SimpleAtoi(word, &value) ? value : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Buffer>> AllocateHost(int64_t bytes) {
  CHECK_GE(bytes, 0);
  const bool huge = bytes >= 2 * kHugePageBytes;
  const int64_t align = huge ? kHugePageBytes : 4096;
  const int64_t map_bytes = (std::max<int64_t>(bytes, 1) + align - 1) / align * align + (huge ? align : 0);
  const absl::StatusOr<int64_t> free = FreeHostBytes();
  const int64_t free_bytes = free.ok() ? *free : std::numeric_limits<int64_t>::max();
  // Linux overcommits: a mapping past the free memory succeeds and the process is killed when it is touched. Refuse
  // here.
  void* map = bytes > free_bytes ? MAP_FAILED
                                 : mmap(nullptr, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes, " bytes of host memory, ",
                                                     free.ok() ? absl::StrCat(free_bytes) : "unknown", " bytes free"));
  }
  if (!huge) return std::make_unique<MappedBuffer>(map, map_bytes, map, bytes);
  // Both ends go back at once: limits on private memory count what is mapped, touched or not.
  const uintptr_t begin = reinterpret_cast<uintptr_t>(map), start = (begin + align - 1) / align * align;
  const int64_t kept_bytes = map_bytes - align;
  void* data = reinterpret_cast<void*>(start);
  if (start > begin) munmap(map, start - begin);
  if (start - begin < static_cast<uintptr_t>(align)) {
    munmap(reinterpret_cast<void*>(start + kept_bytes), align - (start - begin));
  }
  // Advice only: without transparent huge pages the buffer works as well, with more TLB misses.
  if (madvise(data, kept_bytes, MADV_HUGEPAGE) != 0) VLOG(1) << "no huge pages: " << std::strerror(errno);
  return std::make_unique<MappedBuffer>(data, kept_bytes, data, bytes);
}

absl::StatusOr<int64_t> FreeHostBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  std::string unit;
  int64_t available = -1;
  while (available < 0 && meminfo >> key >> kib && std::getline(meminfo, unit)) {
    if (key == "MemAvailable:") available = kib * 1024;
  }
  if (available < 0) return absl::UnavailableError("no MemAvailable in /proc/meminfo");
  const int64_t limit = NumberInFile("/sys/fs/cgroup/memory.max");
  const int64_t used = NumberInFile("/sys/fs/cgroup/memory.current");
  if (limit >= 0 && used >= 0) available = std::min(available, std::max<int64_t>(0, limit - used));
  return available;
}

void SwapHostBlocks(bool out, absl::Span<const std::pair<int32_t, int32_t>> blocks, const KvCacheView& cache,
                    const Buffer& host) {
  const int64_t bytes = cache.layout.block_bytes();
  for (const auto& [block, host_block] : blocks) {
    char* here = static_cast<char*>(cache.base) + block * bytes;
    char* there = static_cast<char*>(host.data()) + host_block * bytes;
    std::memcpy(out ? there : here, out ? here : there, bytes);
  }
}

}  // namespace quire::kernels::cpu
