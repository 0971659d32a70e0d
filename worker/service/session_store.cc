// Keys are kept until the session ends; see the header for the limits.
#include "worker/service/session_store.h"

#include "absl/strings/str_cat.h"
#include "proto/protocol.h"

namespace quire::worker {

absl::Status SessionStore::Keep(const std::string& key, const std::string& value) {
  if (key.size() > proto::kMaxStoreKeyBytes || value.size() > proto::kMaxStoreValueBytes) {
    return absl::ResourceExhaustedError(absl::StrCat("store_put: key of ", key.size(), " bytes (limit ",
                                                     proto::kMaxStoreKeyBytes, "), value of ", value.size(), " (limit ",
                                                     proto::kMaxStoreValueBytes, ")"));
  }
  absl::MutexLock lock(&mu_);
  if (values_.size() >= kMaxKeys && !values_.contains(key)) {
    return absl::ResourceExhaustedError(absl::StrCat("store_put: more than ", kMaxKeys, " keys"));
  }
  values_[key] = value;
  return absl::OkStatus();
}

absl::Status SessionStore::Put(const std::string& key, const std::string& value) {
  if (absl::Status s = Keep(key, value); !s.ok()) return s;
  send_(key, value);
  return absl::OkStatus();
}

absl::Status SessionStore::Deliver(const std::string& key, const std::string& value) { return Keep(key, value); }

absl::StatusOr<std::string> SessionStore::Get(const std::string& key, absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto done = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) { return closed_ || values_.contains(key); };
  const bool in_time = mu_.AwaitWithTimeout(absl::Condition(&done), timeout);
  if (closed_) return absl::CancelledError("the session has ended");
  if (!in_time) {
    return absl::DeadlineExceededError(
        absl::StrCat("no rank has put \"", key, "\" within ", absl::FormatDuration(timeout)));
  }
  return values_.at(key);
}

void SessionStore::Close() {
  absl::MutexLock lock(&mu_);
  closed_ = true;
}

}  // namespace quire::worker
