// How many requests of each tenant live, over both edges.
//
// Thread-safe.
// Invariants:
//   L1  Who got a Place counts until the Place dies; a tenant without live requests takes no memory.
//   L2  It is counted when it is checked: of requests that come together no more get in than may.
#ifndef QUIRE_COORDINATOR_FRONTEND_LIVE_REQUESTS_H_
#define QUIRE_COORDINATOR_FRONTEND_LIVE_REQUESTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"

namespace quire::frontend {

class LiveRequests : public std::enable_shared_from_this<LiveRequests> {
 public:
  // One live request.
  class Place {
   public:
    Place(std::shared_ptr<LiveRequests> owner, std::string tenant);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    const std::shared_ptr<LiveRequests> owner_;
    const std::string tenant_;
  };

  // Errors: RESOURCE_EXHAUSTED the tenant has `most` live requests (0 = no limit), with a hint when to come back.
  absl::StatusOr<std::unique_ptr<Place>> Take(const std::string& tenant, int64_t most);

  // Take's error if Take would refuse now.
  absl::Status Check(const std::string& tenant, int64_t most) const;

  int64_t num_live() const;  // of all tenants

 private:
  absl::Status CheckLocked(const std::string& tenant, int64_t most) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, int64_t> live_ ABSL_GUARDED_BY(mutex_);  // by tenant, each > 0
  int64_t num_live_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_LIVE_REQUESTS_H_
