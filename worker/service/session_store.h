// The ranks' rendezvous store over StorePut messages: a put goes to the coordinator, which hands it to the other ranks.
//
// Thread rule: Put and Get on the compute thread; Deliver and Close on any.
// Invariant: at most kMaxKeys keys and the sizes of protocol.h, whoever sends them.
#ifndef QUIRE_WORKER_SERVICE_SESSION_STORE_H_
#define QUIRE_WORKER_SERVICE_SESSION_STORE_H_

#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "worker/comm/communicator.h"

namespace quire::worker {

class SessionStore final : public RendezvousStore {
 public:
  static constexpr size_t kMaxKeys = 4096;

  using SendPut = std::function<void(const std::string& key, const std::string& value)>;
  explicit SessionStore(SendPut send) : send_(std::move(send)) {}

  absl::Status Put(const std::string& key, const std::string& value) override;
  absl::StatusOr<std::string> Get(const std::string& key, absl::Duration timeout) override;

  // Takes what another rank has put (the own puts may come back too). Errors: RESOURCE_EXHAUSTED over a limit.
  absl::Status Deliver(const std::string& key, const std::string& value);

  // Ends every Get, now and later, with CANCELLED.
  void Close();

 private:
  absl::Status Keep(const std::string& key, const std::string& value);

  const SendPut send_;
  absl::Mutex mu_;
  absl::flat_hash_map<std::string, std::string> values_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SERVICE_SESSION_STORE_H_
