// Quantised checkpoints: what the config says of them, and the float tensors that take their place.
//
// Behind this stage a checkpoint has X.weight as a float matrix for every module, however its file holds it; families know
// nothing of quantisation. A matrix is computed when it is viewed, one at a time, and forgotten when it is released.
// What is not understood - a method, a format, a key that changes values - is refused by its name.
// Thread rule: the loading thread.
// Invariants:
//   Q1  Every tensor that a computed one reads has exactly the type and shape that its format says.
//   Q2  No index that a file holds (groups of inputs) leads outside of the tensors.
#ifndef QUIRE_WORKER_LOADER_QUANTIZATION_H_
#define QUIRE_WORKER_LOADER_QUANTIZATION_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/loader/checkpoint.h"

namespace quire::worker {

struct DenseOptions {
  std::string model_dir;
  std::string config_json;  // the config's "quantization_config"; "": none
  // The model's files have linear weights as [in, out] ("Conv1D").
  bool transposed = false;
};

// What was put in place.
struct DenseReport {
  std::string method;        // "gptq, 4 bit"; "": no quantised tensor
  int64_t num_tensors = 0;   // float tensors that are computed from quantised ones
  int64_t stored_bytes = 0;  // of what they are computed from
  int64_t elements = 0;      // of them
};

// Puts float tensors in the place of quantised ones, and of F64 and 8 bit floats, which no kernel reads. A directory may
// say how it is quantised in quantize_config.json or quant_config.json too.
// Errors: UNIMPLEMENTED what is not built, named; INVALID_ARGUMENT tensors that are missing or do not fit, named.
absl::StatusOr<DenseReport> MakeDense(const DenseOptions& options, Checkpoint* checkpoint);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_QUANTIZATION_H_
