// Presence over the rendezvous store: one key a rank.
#include "worker/comm/presence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace quire::worker {

absl::StatusOr<std::vector<std::string>> ExchangePresence(const PresenceOptions& options, const std::string& value,
                                                          RendezvousStore* store) {
  const absl::Time deadline = absl::Now() + options.timeout;
  if (absl::Status s = store->Put(absl::StrCat(options.prefix, "/", options.rank), value); !s.ok()) return s;
  std::vector<std::string> values(options.world_size);
  std::vector<int> missing;
  values[options.rank] = value;
  for (int r = 0; r < options.world_size; ++r) {
    if (r == options.rank) continue;
    // Once the time is over the rest are only looked up, so that the message names every missing rank.
    const absl::Duration left = std::max(deadline - absl::Now(), absl::Milliseconds(1));
    absl::StatusOr<std::string> got = store->Get(absl::StrCat(options.prefix, "/", r), left);
    if (got.ok()) {
      values[r] = *std::move(got);
    } else if (absl::IsDeadlineExceeded(got.status())) {
      missing.push_back(r);
    } else {
      return got.status();
    }
  }
  if (!missing.empty()) {
    return absl::DeadlineExceededError(absl::StrCat("rank ", options.rank, " of ", options.world_size, " waited ",
                                                    absl::FormatDuration(options.timeout), " for rank ",
                                                    absl::StrJoin(missing, ", "), " (", options.prefix, ")"));
  }
  return values;
}

}  // namespace quire::worker
