// "quantization_config" of a model, read into plain data. What the readers of tensors do not build is refused here, by
// name. Pure; any thread.
#ifndef QUIRE_WORKER_LOADER_QUANTIZATION_CONFIG_H_
#define QUIRE_WORKER_LOADER_QUANTIZATION_CONFIG_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::worker {

enum class QuantMethod : uint8_t { kGptq, kAwq, kFp8, kCompressedTensors, kBitsAndBytes };

struct QuantConfig {
  QuantMethod method = QuantMethod::kGptq;
  std::string name;        // for people: "gptq, 4 bit"
  int bits = 0;            // of kGptq and kAwq, and of packed integers; 0: no module is packed
  int64_t group_size = 0;  // of inputs, of the same; -1: one group
  int gptq_zero_offset = 1;
  bool is_gemv = false;    // of kAwq
  int64_t block_rows = 0;  // of 8 bit floats with a scale per block; 0: none
  int64_t block_cols = 0;
};

// `file` names the object in messages. Errors: INVALID_ARGUMENT a value that cannot be; UNIMPLEMENTED one that is not
// built; both name key and value.
absl::StatusOr<QuantConfig> ParseQuantConfig(absl::string_view file, absl::string_view json);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_LOADER_QUANTIZATION_CONFIG_H_
