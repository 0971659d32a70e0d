#include "kernels/cuda/argument_ring.h"

#include <algorithm>
#include <cstring>

namespace quire::kernels::cuda {
namespace {

constexpr int64_t kAlignment = 256;

}  // namespace

ArgumentRing::~ArgumentRing() { Release(); }

void ArgumentRing::Release() {
  if (memory_ != nullptr) device_->Free(memory_);
  if (pinned_ != nullptr) device_->FreePinned(pinned_);
  for (Event& event : left_) {
    if (event.handle != nullptr) device_->DestroyEvent(event);
    event = {};
  }
  memory_ = pinned_ = nullptr;
  sent_.clear();
}

// Takes memory for segments of at least `bytes`, after all that uses the old one.
absl::Status ArgumentRing::Grow(int64_t bytes) {
  while (segment_bytes_ < bytes) segment_bytes_ *= 2;
  if (memory_ != nullptr) {
    if (absl::Status s = device_->Synchronize(device_->compute_stream()); !s.ok()) return s;
  }
  Release();
  absl::StatusOr<void*> memory = device_->Allocate(kSegments * segment_bytes_);
  if (!memory.ok()) return memory.status();
  memory_ = static_cast<char*>(*memory);
  absl::StatusOr<void*> pinned = device_->AllocatePinned(kSegments * segment_bytes_);
  if (!pinned.ok()) return pinned.status();
  pinned_ = static_cast<char*>(*pinned);
  for (Event& event : left_) {
    absl::StatusOr<Event> created = device_->CreateEvent();
    if (!created.ok()) return created.status();
    event = *created;
  }
  segment_ = 0;
  used_ = 0;
  return absl::OkStatus();
}

absl::Status ArgumentRing::NextSegment() {
  if (absl::Status s = device_->Record(left_[segment_], device_->compute_stream()); !s.ok()) return s;
  segment_ = (segment_ + 1) % kSegments;
  used_ = 0;
  sent_.erase(std::remove_if(sent_.begin(), sent_.end(), [this](const Sent& s) { return s.segment == segment_; }),
              sent_.end());
  return device_->Wait(left_[segment_]);
}

absl::Status ArgumentRing::Send(const void* host, int64_t bytes, int64_t* offset) {
  if (memory_ == nullptr || bytes > segment_bytes_) {
    if (absl::Status s = Grow(bytes); !s.ok()) return s;
  }
  if (used_ + bytes > segment_bytes_) {
    if (absl::Status s = NextSegment(); !s.ok()) return s;
  }
  *offset = segment_ * segment_bytes_ + used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  std::memcpy(pinned_ + *offset, host, bytes);
  ++num_copies_;
  return device_->Copy(memory_ + *offset, pinned_ + *offset, bytes, device_->compute_stream());
}

const void* ArgumentRing::Upload(const void* host, int64_t bytes) {
  if (!status_.ok()) return nullptr;
  for (const Sent& sent : sent_) {
    if (sent.host == host && sent.bytes == bytes && std::memcmp(pinned_ + sent.offset, host, bytes) == 0) {
      return memory_ + sent.offset;
    }
  }
  int64_t offset = 0;
  status_ = Send(host, bytes, &offset);
  if (!status_.ok()) return nullptr;
  const Sent sent = {host, bytes, offset, segment_};
  if (sent_.size() < kRemembered) {
    sent_.push_back(sent);
  } else {
    sent_[next_sent_++ % kRemembered] = sent;
  }
  return memory_ + offset;
}

}  // namespace quire::kernels::cuda
