// A file that torch.save wrote (pytorch_model.bin): a zip archive of storages and of a pickle that says which tensor
// lies where in them. Nothing in it is executed.
//
// Thread rule: pure; any thread.
// Invariants, for every file that reads:
//   B1  Every element of a tensor lies inside the file.
#ifndef QUIRE_WORKER_LOADER_TORCH_FILE_H_
#define QUIRE_WORKER_LOADER_TORCH_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

struct TorchTensor {
  SafetensorsEntry entry;  // begin and end count from the file's first byte: from the first element to the last one
  std::vector<int64_t> strides;  // in elements, one per axis; several tensors may lie in one place
};

// Reads what the file whose whole content is `bytes` holds. `file` names it in messages.
// Errors: INVALID_ARGUMENT a broken file, naming the tensor; UNIMPLEMENTED the format before torch 1.6, or whatever
// weights do not need, named.
absl::StatusOr<std::vector<TorchTensor>> ReadTorchFile(absl::string_view file, absl::string_view bytes);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_TORCH_FILE_H_
