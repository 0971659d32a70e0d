// The line that a busy engine logs every few seconds. Pure.
#ifndef QUIRE_COORDINATOR_ENGINE_STATS_LINE_H_
#define QUIRE_COORDINATOR_ENGINE_STATS_LINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/engine/core.h"

namespace quire::engine {

struct StatsLineInput {
  CoreStats core;
  std::vector<RankUsage> ranks;
  int64_t block_size = 0;
  double tokens_per_second = 0;
  double step_seconds_p50 = 0;
};

// Requests, throughput, blocks of every rank (used + cached / total, host likewise if it has some), fragmentation, and
// what preemption, forks and the prefix cache have done since the start.
std::string StatsLine(const StatsLineInput& input);

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_STATS_LINE_H_
