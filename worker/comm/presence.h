// First act of forming a group: every rank says that it is there and learns who is not. Any one thread per rank.
#ifndef QUIRE_WORKER_COMM_PRESENCE_H_
#define QUIRE_WORKER_COMM_PRESENCE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

struct PresenceOptions {
  std::string prefix;  // of the store's keys; unique per use
  int rank = 0;
  int world_size = 1;
  absl::Duration timeout;  // for all ranks together
};

// Exchanges `value` with all ranks and returns theirs by rank (the own one included).
// Errors: DEADLINE_EXCEEDED naming the ranks that are missing; the store's own (CANCELLED when the session ends).
absl::StatusOr<std::vector<std::string>> ExchangePresence(const PresenceOptions& options, const std::string& value,
                                                          RendezvousStore* store);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_COMM_PRESENCE_H_
