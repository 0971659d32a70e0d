// Shows how far the ranks' loading is: a bar on standard error when that is a terminal, else log lines. The group's
// thread only.
//
// Invariants:
//   P1  At most two updates a second, and one when all is loaded.
//   P2  Lines are at least a tenth of the load apart, but for the last: some ten, however long it takes.
#ifndef QUIRE_COORDINATOR_CLUSTER_LOAD_PROGRESS_H_
#define QUIRE_COORDINATOR_CLUSTER_LOAD_PROGRESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace quire::cluster {

// "[#####.....] 50 %  1.0 / 2.0 GiB" of bytes. Pure.
std::string ProgressBar(uint64_t loaded, uint64_t total);

class LoadProgress {
 public:
  LoadProgress(int world_size, bool is_terminal);

  void Update(int rank, uint64_t bytes_loaded, uint64_t bytes_total, absl::Time now);
  // Ends the bar's line.
  ~LoadProgress();

 private:
  struct Bytes {
    uint64_t loaded = 0;
    uint64_t total = 0;
  };

  const bool is_terminal_;
  std::vector<Bytes> by_rank_;
  absl::Time last_shown_ = absl::InfinitePast();
  uint64_t last_loaded_ = 0;
  bool bar_open_ = false;
};

}  // namespace quire::cluster

#endif  // QUIRE_COORDINATOR_CLUSTER_LOAD_PROGRESS_H_
