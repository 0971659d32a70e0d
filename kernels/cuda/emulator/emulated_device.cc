#include "kernels/cuda/emulator/emulated_device.h"

#include <glog/logging.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/half.h"

namespace quire::kernels::cuda::emulator {
namespace {

constexpr size_t kAlignment = 256;
constexpr int64_t kPoisonedBytes = 1 << 20;

}  // namespace

EmulatedDevice::EmulatedDevice(int64_t total_bytes) {
  facts_.name = "emulated device";
  facts_.id = "emulated";
  facts_.major = 9;
  facts_.num_multiprocessors = 4;
  facts_.total_bytes = total_bytes;
}

EmulatedDevice::~EmulatedDevice() {
  CHECK(memory_.empty()) << memory_.size() << " pieces of device memory were not freed";
  CHECK_EQ(num_events_, 0);
}

absl::StatusOr<void*> EmulatedDevice::Allocate(int64_t bytes) {
  if (bytes > facts_.total_bytes - used_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat("emulated device: no memory for ", bytes, " bytes"));
  }
  void* memory = nullptr;
  CHECK_EQ(posix_memalign(&memory, kAlignment, bytes), 0) << bytes;
  // What an earlier owner left; only the first part, so that untouched pages of large pieces stay untouched.
  std::memset(memory, 0xff, std::min(bytes, kPoisonedBytes));
  memory_[memory] = bytes;
  used_bytes_ += bytes;
  ++num_allocations_;
  return memory;
}

void EmulatedDevice::Free(void* memory) {
  const auto it = memory_.find(memory);
  CHECK(it != memory_.end());
  used_bytes_ -= it->second;
  memory_.erase(it);
  std::free(memory);
}

absl::StatusOr<void*> EmulatedDevice::AllocatePinned(int64_t bytes) { return std::calloc(bytes, 1); }

void EmulatedDevice::FreePinned(void* memory) { std::free(memory); }

absl::Status EmulatedDevice::Copy(void* to, const void* from, int64_t bytes, Stream /*stream*/) {
  std::memcpy(to, from, bytes);
  return absl::OkStatus();
}

absl::Status EmulatedDevice::Zero(void* memory, int64_t bytes, Stream /*stream*/) {
  std::memset(memory, 0, bytes);
  return absl::OkStatus();
}

absl::StatusOr<Event> EmulatedDevice::CreateEvent() {
  ++num_events_;
  return Event{this};
}

void EmulatedDevice::DestroyEvent(Event /*event*/) { --num_events_; }

absl::Status EmulatedDevice::Record(Event event, Stream /*stream*/) {
  CHECK(event.handle != nullptr);
  ++num_records_;
  return absl::OkStatus();
}

absl::Status EmulatedDevice::Wait(Event event) {
  CHECK(event.handle != nullptr);
  ++num_waits_;
  return absl::OkStatus();
}

bool EmulatedBlas::MatMul(const BlasCall& call, Stream /*stream*/) {
  Dispatch(call.weight.dtype, [&](auto element) {
    using T = decltype(element);
    for (int64_t t = 0; t < call.num_rows; ++t) {
      const T* x = static_cast<const T*>(call.x) + t * call.x_pitch;
      for (int64_t r = 0; r < call.weight.rows; ++r) {
        const T* w = static_cast<const T*>(call.weight.data) + r * call.weight.pitch;
        float sum = 0.0f;
        for (int64_t c = 0; c < call.weight.cols; ++c) sum = std::fma(Widen(x[c]), Widen(w[c]), sum);
        call.out[t * call.out_stride + r] = call.bias == nullptr ? sum : sum + call.bias[r];
      }
    }
  });
  return true;
}

}  // namespace quire::kernels::cuda::emulator
