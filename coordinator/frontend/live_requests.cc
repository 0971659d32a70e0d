#include "coordinator/frontend/live_requests.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "coordinator/engine/admission.h"

namespace quire::frontend {
namespace {

constexpr int kRetryMs = 1000;  // when one of them ends is not known

}  // namespace

LiveRequests::Place::Place(std::shared_ptr<LiveRequests> owner, std::string tenant)
    : owner_(std::move(owner)), tenant_(std::move(tenant)) {}

LiveRequests::Place::~Place() {
  absl::MutexLock lock(&owner_->mutex_);
  const auto it = owner_->live_.find(tenant_);
  CHECK(it != owner_->live_.end()) << "tenant " << tenant_ << " has no live request to end";
  if (--it->second == 0) owner_->live_.erase(it);
  --owner_->num_live_;
}

absl::StatusOr<std::unique_ptr<LiveRequests::Place>> LiveRequests::Take(const std::string& tenant, int64_t most) {
  {
    absl::MutexLock lock(&mutex_);
    if (absl::Status status = CheckLocked(tenant, most); !status.ok()) return status;
    ++live_[tenant];
    ++num_live_;
  }
  return std::make_unique<Place>(shared_from_this(), tenant);
}

absl::Status LiveRequests::Check(const std::string& tenant, int64_t most) const {
  absl::ReaderMutexLock lock(&mutex_);
  return CheckLocked(tenant, most);
}

int64_t LiveRequests::num_live() const {
  absl::ReaderMutexLock lock(&mutex_);
  return num_live_;
}

absl::Status LiveRequests::CheckLocked(const std::string& tenant, int64_t most) const {
  if (most <= 0) return absl::OkStatus();
  const auto it = live_.find(tenant);
  if (it == live_.end() || it->second < most) return absl::OkStatus();
  absl::Status status = absl::ResourceExhaustedError(
      absl::StrCat("this key may have ", most, " live requests and has ", it->second, "; wait until one has ended"));
  status.SetPayload(engine::kRetryAfterPayload, absl::Cord(absl::StrCat(kRetryMs)));
  return status;
}

}  // namespace quire::frontend
