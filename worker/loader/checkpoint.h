// The tensors of a Hugging Face directory: one model.safetensors, or the files that its index names. All mapped,
// nothing copied.
//
// Thread rule: Open and Release on the loading thread; reading from any.
// Invariants:
//   K1  Every tensor lies inside its mapped file and has passed the checks of safetensors.h.
//   K2  With an index, the tensors are exactly those of its weight_map, each found in the file that it names.
#ifndef QUIRE_WORKER_LOADER_CHECKPOINT_H_
#define QUIRE_WORKER_LOADER_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor_view.h"
#include "worker/loader/mapped_file.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

struct CheckpointTensor {
  SafetensorsEntry entry;
  const MappedFile* file = nullptr;
  const uint8_t* data = nullptr;

  int64_t size_bytes() const { return entry.end - entry.begin; }
};

class Checkpoint final {
 public:
  // Errors: NOT_FOUND no safetensors in the directory, or a file of the index missing; INVALID_ARGUMENT, naming file
  // and tensor.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& model_dir);

  // By name, ascending.
  const std::map<std::string, CheckpointTensor>& tensors() const { return tensors_; }
  // Null if there is none.
  const CheckpointTensor* Find(const std::string& name) const;

  // The tensor as the kernels read it. Valid until Release(tensor), else as long as the checkpoint.
  // A file whose data do not lie on their type's border (the format allows it) costs a copy of the tensor.
  // Requires: a float type, 1 to 4 axes.
  kernels::TensorView View(const CheckpointTensor& tensor);

  // Gives back the memory that reading this tensor took.
  void Release(const CheckpointTensor& tensor);

 private:
  Checkpoint() = default;
  absl::Status AddFile(const std::string& path, const std::map<std::string, std::string>* weight_map,
                       const std::string& file_name);
  absl::Status OpenSharded(const std::string& model_dir, const std::string& index_path);

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, CheckpointTensor> tensors_;
  std::map<std::string, std::vector<uint8_t>> aligned_copies_;  // by tensor name
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_CHECKPOINT_H_
