// The tensors of a Hugging Face directory: one model.safetensors, or the files that its index names; where there is
// neither, pytorch_model.bin or its index. All mapped, nothing copied.
//
// Thread rule: Open and Release on the loading thread; reading from any.
// Invariants:
//   K1  Every tensor lies inside its mapped file and has passed the checks of safetensors.h or torch_file.h.
//   K2  With an index, the tensors are exactly those of its weight_map, each found in the file that it names.
//   K3  Tensors that a caller computes from stored ones (quantization.h) take their place: everybody behind it sees floats.
#ifndef QUIRE_WORKER_LOADER_CHECKPOINT_H_
#define QUIRE_WORKER_LOADER_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/tensor_view.h"
#include "worker/loader/computed_rows.h"
#include "worker/loader/mapped_file.h"
#include "worker/loader/safetensors.h"

namespace quire::worker {

struct CheckpointTensor {
  SafetensorsEntry entry;
  const MappedFile* file = nullptr;
  const uint8_t* data = nullptr;
  std::vector<int64_t> strides;                // in elements, one per axis; empty: row-major without gaps
  const ComputedRows* computed = nullptr;      // null: it lies in the file at data
  std::vector<const CheckpointTensor*> parts;  // of a computed one: what it is computed from, in `file` or others

  // From the first element to behind the last one, of a computed one once it is computed.
  int64_t size_bytes() const { return entry.end - entry.begin; }
};

class Checkpoint final {
 public:
  // Errors: NOT_FOUND no weights in the directory, or a file of the index missing; INVALID_ARGUMENT, naming file and
  // tensor; UNIMPLEMENTED what torch_file.h refuses.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& model_dir);

  // By name, ascending.
  const std::map<std::string, CheckpointTensor>& tensors() const { return tensors_; }
  // Null if there is none.
  const CheckpointTensor* Find(const std::string& name) const;

  // The tensor as the kernels read it, with the strides that the file has. Valid until Release(tensor), else as long as
  // the checkpoint. A file whose data do not lie on their type's border (the format allows it) costs a copy of the
  // tensor. Requires: a float type, 1 to 4 axes.
  kernels::TensorView View(const CheckpointTensor& tensor);

  // The same, row-major without gaps: costs a copy where the file has it otherwise.
  kernels::TensorView RowMajorView(const CheckpointTensor& tensor);

  // Lets the disk work on these rows of the tensor. Requires: at least one axis.
  void Prefetch(const CheckpointTensor& tensor, int64_t first_row, int64_t num_rows) const;

  // Puts a tensor of F32 in the place of the stored `parts`, whose names are no longer found then; `name` may be one of
  // them. It takes memory only between View and Release. Its elements lie where shape and strides (empty: row-major)
  // say in the rows of `rows`, one behind the other. Requires: parts that are there; a name that is not, else.
  void AddComputed(const std::string& name, std::vector<int64_t> shape, std::vector<int64_t> strides,
                   std::unique_ptr<ComputedRows> rows, const std::vector<std::string>& parts);

  // Takes a tensor that nobody reads out of sight. Requires: it is there.
  void Hide(const std::string& name);

  // Gives back the memory that reading this tensor took.
  void Release(const CheckpointTensor& tensor);

 private:
  Checkpoint() = default;
  struct Naming;
  absl::Status AddFile(const Naming& naming, const std::string& model_dir, const std::string& file_name,
                       const std::map<std::string, std::string>* weight_map);
  absl::Status OpenSharded(const Naming& naming, const std::string& model_dir);
  const uint8_t* Data(const CheckpointTensor& tensor);

  std::vector<std::unique_ptr<MappedFile>> files_;
  std::map<std::string, CheckpointTensor> tensors_;
  std::map<std::string, std::vector<uint8_t>> aligned_copies_;    // by tensor name
  std::map<std::string, std::vector<uint8_t>> row_major_copies_;  // likewise, as the next
  std::map<std::string, std::unique_ptr<float[]>> computed_;      // what is viewed at the moment
  std::map<std::string, CheckpointTensor> parts_;                 // of computed tensors
  std::vector<std::unique_ptr<ComputedRows>> rows_;
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_CHECKPOINT_H_
