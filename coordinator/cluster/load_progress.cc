// How loading is shown: see the header.
#include "coordinator/cluster/load_progress.h"

#include <glog/logging.h>
#include <stdio.h>

#include <algorithm>

#include "absl/strings/str_format.h"

namespace quire::cluster {
namespace {

constexpr absl::Duration kBetweenBars = absl::Milliseconds(500);
constexpr absl::Duration kBetweenLines = absl::Seconds(2);
constexpr int kBarWidth = 30;

// A tenth more than before of what is to be loaded. The total is that of the ranks that have said theirs.
bool NextStep(uint64_t before, uint64_t loaded, uint64_t total) {
  return total > 0 && loaded >= before && (loaded - before) >= total / 10;
}

}  // namespace

std::string ProgressBar(uint64_t loaded, uint64_t total) {
  loaded = std::min(loaded, total);
  const double share = total == 0 ? 0.0 : static_cast<double>(loaded) / static_cast<double>(total);
  const int filled = static_cast<int>(share * kBarWidth);
  const bool large = total >= (1ull << 30);
  const double unit = large ? 1024.0 * 1024.0 * 1024.0 : 1024.0 * 1024.0;
  return absl::StrFormat("[%s%s] %3d %%  %.1f / %.1f %s", std::string(filled, '#'),
                         std::string(kBarWidth - filled, '.'), static_cast<int>(share * 100),
                         static_cast<double>(loaded) / unit, static_cast<double>(total) / unit, large ? "GiB" : "MiB");
}

LoadProgress::LoadProgress(int world_size, bool is_terminal) : is_terminal_(is_terminal), by_rank_(world_size) {}

void LoadProgress::Update(int rank, uint64_t bytes_loaded, uint64_t bytes_total, absl::Time now) {
  by_rank_[rank] = {bytes_loaded, bytes_total};
  Bytes sum;
  bool complete = true;
  for (const Bytes& bytes : by_rank_) {
    complete = complete && bytes.total > 0 && bytes.loaded >= bytes.total;
    sum.loaded += bytes.loaded;
    sum.total += bytes.total;
  }
  if (complete && sum.loaded == last_loaded_) return;
  const bool is_next_line = NextStep(last_loaded_, sum.loaded, sum.total) && now - last_shown_ >= kBetweenLines;
  if (!complete && !(is_terminal_ ? now - last_shown_ >= kBetweenBars : is_next_line)) return;
  last_shown_ = now;
  last_loaded_ = sum.loaded;
  const std::string bar = ProgressBar(sum.loaded, sum.total);
  if (is_terminal_) {
    fprintf(stderr, "\rloading %s ", bar.c_str());
    fflush(stderr);
    bar_open_ = true;
  } else {
    LOG(INFO) << "loading " << bar;
  }
}

LoadProgress::~LoadProgress() {
  if (bar_open_) fputc('\n', stderr);
}

}  // namespace quire::cluster
