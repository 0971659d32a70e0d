// The arithmetic of the cache's size, and where Linux tells how much memory is left.
#include "worker/runtime/memory_planner.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace quire::worker {
namespace {

constexpr double kDefaultUtilization = 0.9;
// gRPC's buffers, thread stacks, the sequence table.
constexpr int64_t kProcessBytes = 64 << 20;

double MiB(int64_t bytes) { return std::round(static_cast<double>(bytes) / (1 << 20) * 10) / 10; }

// First number of a file, or -1. "max" is no number.
int64_t ReadNumber(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  int64_t value = -1;
  return file >> word && absl::SimpleAtoi(word, &value) ? value : -1;
}

// What a control group and its parents leave; a large number without limits.
int64_t ControlGroupRoom() {
  int64_t room = std::numeric_limits<int64_t>::max();
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const bool v2 = parts[1].empty();
    if (!v2 && parts[1] != "memory") continue;
    const std::string root = v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    // Inside a container the path is often "/" or one that only the host knows: the root is tried as well.
    for (std::string path = parts[2];; path = path.substr(0, path.rfind('/'))) {
      const std::string directory = absl::StrCat(root, path == "/" ? "" : path, "/");
      const int64_t limit = ReadNumber(directory + (v2 ? "memory.max" : "memory.limit_in_bytes"));
      const int64_t used = ReadNumber(directory + (v2 ? "memory.current" : "memory.usage_in_bytes"));
      if (limit > 0 && used >= 0) room = std::min(room, std::max<int64_t>(limit - used, 0));
      if (path.empty() || path == "/") break;
    }
  }
  return room;
}

// That a sequence of max_model_len tokens holds at once (KvManager::MostBlocksFor of the coordinator).
int64_t BlocksPerSequence(const MemoryRequest& r) {
  const auto blocks = [&r](int64_t tokens) { return (tokens + r.block_size - 1) / r.block_size; };
  const int64_t all = blocks(r.max_model_len);
  return r.attention_window == 0 ? all : std::min(all, blocks(r.attention_window + r.max_num_batched_tokens) + 1);
}

}  // namespace

absl::StatusOr<MemoryPlan> PlanMemory(const MemoryRequest& r) {
  if (!(r.utilization >= 0 && r.utilization <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("memory_utilization ", r.utilization, " must be in (0, 1]"));
  }
  const int64_t blocks_per_sequence = BlocksPerSequence(r);
  const int64_t useful = r.max_num_seqs * blocks_per_sequence;
  // The model reserved its activations when it loaded; the logits of a step with all its rows and their copies grow later.
  const int64_t rows = std::max(r.max_logit_rows, r.max_num_seqs);
  const int64_t later = kProcessBytes + 2 * rows * r.vocab_size * static_cast<int64_t>(sizeof(float));
  const double utilization = r.utilization == 0 ? kDefaultUtilization : r.utilization;
  const int64_t share =
      static_cast<int64_t>(static_cast<double>(r.free_bytes) * utilization) / std::max<int64_t>(r.ranks_sharing, 1);
  int64_t bytes = std::max<int64_t>(share - later, 0);
  if (r.kv_cache_memory_bytes > 0) {
    if (r.kv_cache_memory_bytes > r.free_bytes / std::max<int64_t>(r.ranks_sharing, 1)) {
      return absl::ResourceExhaustedError(
          absl::StrCat("kv_cache_memory_bytes ", r.kv_cache_memory_bytes, " on each of ", r.ranks_sharing,
                       " ranks, but ", r.free_bytes, " bytes are free on this ",
                       r.host_free_bytes >= 0 ? "device" : "host", " with the weights loaded"));
    }
    bytes = r.kv_cache_memory_bytes;
  }
  MemoryPlan plan;
  plan.device_blocks = std::min(bytes / r.block_bytes, useful);
  if (plan.device_blocks < blocks_per_sequence) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the cache holds ", plan.device_blocks, " blocks (", MiB(bytes), " MiB at ", MiB(r.block_bytes),
        " MiB a block), one sequence of max_model_len ", r.max_model_len, " needs ", blocks_per_sequence, "; ",
        MiB(r.free_bytes), " MiB are free for ", r.ranks_sharing, " ranks at utilization ", utilization,
        ": lower max_model_len, or give more by memory_utilization or kv_cache_memory_bytes"));
  }
  const bool own_memory = r.host_free_bytes >= 0;
  const int64_t sharing = std::max<int64_t>(own_memory ? r.ranks_of_host : r.ranks_sharing, 1);
  // On CPUs the swap space is taken from the same memory as the cache.
  const int64_t room =
      own_memory ? r.host_free_bytes / sharing : r.free_bytes / sharing - plan.device_blocks * r.block_bytes;
  if (r.swap_space_bytes > room) {
    return absl::ResourceExhaustedError(absl::StrCat("swap_space_bytes ", r.swap_space_bytes, " on each of ", sharing,
                                                     " ranks, but ", room, " bytes of this host are free",
                                                     own_memory ? " for each" : " beside a rank's cache"));
  }
  plan.host_blocks = r.swap_space_bytes / r.block_bytes;
  return plan;
}

absl::StatusOr<int64_t> MeasureFreeMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "MemAvailable:")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kib = 0;
    if (words.size() >= 2 && absl::SimpleAtoi(words[1], &kib)) return std::min(kib * 1024, ControlGroupRoom());
  }
  return absl::InternalError("/proc/meminfo has no MemAvailable");
}

}  // namespace quire::worker
