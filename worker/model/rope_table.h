// The cosines and sines that rotary positions turn by, computed as far as positions have come.
//
// A long-context model's whole table is tens of megabytes and most requests never reach its end: rows are filled in
// chunks, on first use.
//
// Thread rule: the rank's compute thread.
#ifndef QUIRE_WORKER_MODEL_ROPE_TABLE_H_
#define QUIRE_WORKER_MODEL_ROPE_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "worker/model/model_spec.h"

namespace quire::worker {

// Radians per position of each rotating pair, [dims / 2]. Source: transformers modeling_rope_utils.py, in its own f32
// steps.
std::vector<float> RopeFrequencies(const RopeSpec& rope);

class RopeTable final {
 public:
  // grows_beyond: rows of positions p, counted from 1, are longer from here on, by log(p) / log(this); 0: none is.
  // Requires: backend outlives the table. Errors: RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<RopeTable>> Create(const RopeSpec& rope, int64_t max_position,
                                                           int64_t grows_beyond, kernels::Backend* backend);

  // Makes rows [0, position] right. Cost: nothing unless the position is a new chunk's. Requires: position <
  // max_position.
  absl::Status Reach(int64_t position);

  // [max_position, 2, dims / 2] f32: cosines, then sines.
  const kernels::TensorView& cos_sin() const { return cos_sin_; }

 private:
  RopeTable() = default;
  float AmplitudeAt(int64_t position) const;

  kernels::Backend* backend_ = nullptr;
  std::unique_ptr<kernels::Buffer> buffer_;
  kernels::TensorView cos_sin_;
  std::vector<float> frequencies_;
  float amplitude_ = 1.0f;  // of cosines and sines
  int64_t grows_beyond_ = 0;
  std::vector<float> chunk_;  // staging of one chunk
  int64_t num_filled_ = 0;    // rows
};

}  // namespace quire::worker

#endif  // QUIRE_WORKER_MODEL_ROPE_TABLE_H_
