// How a family's quantised files are to be read: the line from config and family row to worker/loader/quantization.h.
#ifndef QUIRE_WORKER_MODEL_DENSE_OPTIONS_H_
#define QUIRE_WORKER_MODEL_DENSE_OPTIONS_H_

#include <string>

#include "worker/loader/quantization.h"
#include "worker/model/family_rows.h"
#include "worker/model/hf_config.h"

namespace quire::worker {

inline DenseOptions MakeDenseOptions(const std::string& model_dir, const HfConfig& config, const FamilyRow& family) {
  DenseOptions dense;
  dense.model_dir = model_dir;
  dense.config_json = config.quantization_json;
  for (const TensorRule& rule : family.tensors) {
    dense.transposed = dense.transposed || rule.layout == Layout::kConcatTransposed;
  }
  return dense;
}

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_DENSE_OPTIONS_H_
