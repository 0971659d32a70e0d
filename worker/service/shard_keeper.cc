// The key is made of what stat says: a checkpoint that was replaced in place is another one.
#include "worker/service/shard_keeper.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire::worker {

LoadedShard ShardKeeper::Take(const std::string& key) {
  LoadedShard kept = std::exchange(kept_, {});
  return !key.empty() && kept.key == key ? std::move(kept) : LoadedShard{};
}

void ShardKeeper::Keep(LoadedShard shard) {
  if (shard.model == nullptr || shard.key.empty()) return;
  shard.comm->Use(nullptr);
  kept_ = std::move(shard);
}

std::string ShardKey(const LoadOptions& options) {
  DIR* directory = opendir(options.model_dir.c_str());
  if (directory == nullptr) return "";
  std::vector<std::string> files;
  while (const dirent* entry = readdir(directory)) {
    struct stat st = {};
    const std::string path = absl::StrCat(options.model_dir, "/", entry->d_name);
    if (stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
    files.push_back(absl::StrCat(entry->d_name, " ", st.st_dev, ":", st.st_ino, " ", st.st_size, " ", st.st_mtim.tv_sec,
                                 ".", st.st_mtim.tv_nsec));
  }
  closedir(directory);
  std::sort(files.begin(), files.end());
  return absl::StrCat(options.model_dir, "|", options.dtype, "|", options.rank, "/", options.world_size,
                      options.expert_parallel ? "e|" : "|", options.max_model_len, "|", options.max_num_batched_tokens,
                      "|", options.max_num_logit_rows, "|", absl::StrJoin(files, "|"));
}

}  // namespace quire::worker
