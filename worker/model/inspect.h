// What a model directory holds and what serving it would take, without loading it: headers and configs are read, weights
// only where asked for. Goes on after a complaint: the report has all of them.
//
// Any thread.
#ifndef QUIRE_WORKER_MODEL_INSPECT_H_
#define QUIRE_WORKER_MODEL_INSPECT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "worker/model/model_spec.h"

namespace quire::worker {

struct InspectOptions {
  std::string model_dir;
  int world_size = 1;
  bool expert_parallel = false;
  bool count_zeros = false;  // reads all weights
};

struct InspectedTensor {
  std::string name;
  std::string shape;  // "BF16[3,64]"; "F32[3,64], computed" where the file has it quantised
  int64_t file_bytes = 0;
  double zero_share = -1.0;  // of its elements; -1: not counted, or no float
};

struct InspectedRank {
  int64_t matrix_bytes = 0;  // packed in the stored type; what padding adds is not counted
  int64_t vector_bytes = 0;  // norms and biases, in float32
  int64_t mapped_bytes = 0;  // tables that are looked up where the file has them: of the page cache
  int64_t kv_token_bytes = 0;
};

struct InspectReport {
  std::vector<std::string> problems;  // why it cannot be served; empty: it can
  std::vector<std::string> architectures;
  std::string model_type;
  bool family_is_known = false;
  std::optional<ModelSpec> spec;
  std::string dtype;                     // that "auto" chooses; "" if that cannot be known
  std::string quantization;              // "" if none
  std::vector<InspectedTensor> tensors;  // by name
  int64_t file_bytes = 0;                // of all tensors in the files
  double zero_share = -1.0;              // of all weights; -1: not counted
  std::vector<InspectedRank> ranks;      // empty if the sizes cannot be known
};

InspectReport InspectModel(const InspectOptions& options);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_INSPECT_H_
