// What --device asks for. Pure.
#ifndef QUIRE_WORKER_DEVICE_CHOICE_H_
#define QUIRE_WORKER_DEVICE_CHOICE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

struct DeviceChoice {
  bool cuda = false;  // try a GPU
  bool cpu = true;    // the CPU will do, if there is no GPU where one was tried
  int index = 0;      // of the GPU
};

// Errors: INVALID_ARGUMENT unless text is cpu, cuda, cuda:N or auto.
absl::StatusOr<DeviceChoice> ParseDevice(absl::string_view text);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_DEVICE_CHOICE_H_
