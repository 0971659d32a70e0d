// What the status page shows, as JSON of bounded size. Any thread; what it takes of the engines are snapshots.
#ifndef QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_JSON_H_
#define QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_JSON_H_

#include <string>

#include "coordinator/frontend/api.h"

namespace quire::http {

// Replicas with all that is known of them; of those beyond only the sums are told.
inline constexpr int kMaxReplicasShown = 8;
inline constexpr int kMaxRanksShown = 64;  // of each

// Sums, latencies of the last minute (null without metrics), and of each replica its ranks, steps and blocks.
std::string StatusJson(frontend::Api* api);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_MONITOR_STATUS_JSON_H_
