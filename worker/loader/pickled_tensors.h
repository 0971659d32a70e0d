// The tensor records of a pickle that torch.save wrote: which tensor lies where in which storage. Nothing is executed.
//
// Understands the values that pickle_machine.h makes of it. Trusts nothing that the file says.
// Thread rule: pure; any thread.
// Invariants, for every pickle that reads:
//   P1  Every element of a tensor lies inside its storage; strides are not negative; a tensor has no more elements than
//       its storage.
//   P2  Names are unique.
#ifndef QUIRE_WORKER_LOADER_PICKLED_TENSORS_H_
#define QUIRE_WORKER_LOADER_PICKLED_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

struct PickledTensor {
  std::string name;
  const StoredType* type = nullptr;  // static
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements, one per axis
  int64_t offset = 0;            // of the first element, in elements
  std::string storage_key;       // names the file of the storage
  int64_t storage_bytes = 0;
};

// Reads the pickle `bytes`, a dict of tensors by name. `file` names it in messages.
// Errors: INVALID_ARGUMENT no such pickle, naming the tensor; UNIMPLEMENTED an opcode, function or class that no dict of
// weights needs, named.
absl::StatusOr<std::vector<PickledTensor>> ReadPickledTensors(absl::string_view file, absl::string_view bytes);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_PICKLED_TENSORS_H_
