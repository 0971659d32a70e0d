// The sampler on the device: the definition of sampling_ops.h, one block a row.
//
// Invariant: the same token as cpu/reference_sampling.cc from the same logits: scores, weights and noise are the shared
// functions of sampling_math.h and philox.h, compiled without fused operations, and every choice is by comparison or by
// sums of integers, which have no order.
#ifndef QUIRE_KERNELS_CUDA_SAMPLING_KERNELS_H_
#define QUIRE_KERNELS_CUDA_SAMPLING_KERNELS_H_

#include <cstdint>

#include "kernels/cuda/row_kernels.h"
#include "kernels/cuda/stream.h"

namespace quire::kernels::cuda {

// A SampleRow as the kernel wants it.
struct DrawArgs {
  uint64_t seed = 0;
  uint32_t position = 0;
  uint32_t choice = 0;
  float inverse_temperature = 1.0f;  // 0: greedy
  float least_score = 0.0f;          // of min-p
  float top_p = 1.0f;
  int32_t top_k = 0;   // 0 = all
  int32_t given = -1;  // not drawn
};

struct DrawResult {
  int32_t token = -1;
  float logit = 0.0f;  // of the token, after edits
};

// Shapes: args, results [num_rows] on the device.
void LaunchSample(const Rows& logits, const DrawArgs* args, DrawResult* results, Stream stream);

struct IdLogit {
  int32_t id;
  float logit;
};

struct LogProbResult {
  float max = 0.0f;
  int32_t argmax = 0;
  double sum = 0.0;  // of e^(logit - max)
};

// For the rows whose num_top is >= 0: the sum, and the num_top most probable ids in no order.
// Shapes: num_top, results [num_rows]; top [num_rows, max_top].
void LaunchLogProbs(const Rows& logits, const int32_t* num_top, int64_t max_top, LogProbResult* results, IdLogit* top,
                    Stream stream);

// One row's edits, as ranges of the arrays of EditCall.
struct EditRow {
  int32_t row = 0;
  int32_t mask_begin = -1;  // in EditCall::masks; -1 = none
  int32_t allowed_begin = 0, num_allowed = 0;
  int32_t bias_begin = 0, num_bias = 0;
  int32_t banned_begin = 0, num_banned = 0;
  int32_t seen_begin = 0, num_seen = 0;
  int32_t raw_begin = -1;   // where the raw logits of bias, banned and seen ids go; -1 = not wanted
  int32_t serial_bias = 0;  // an id has more than one bias: added in their order
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
};

struct EditCall {
  const EditRow* rows = nullptr;
  int64_t num_rows = 0;
  const int32_t* ids = nullptr;     // what all begins but those of masks and raw logits count in
  const int32_t* counts = nullptr;  // of seen ids, at their places
  const float* biases = nullptr;    // of bias ids, at their places
  float* kept = nullptr;            // room for the logits of allowed ids, at their places
  float* raw = nullptr;
  const uint32_t* masks = nullptr;  // a bit for each id
};

void LaunchEditLogits(const Rows& logits, const EditCall& call, Stream stream);

}  // namespace quire::kernels::cuda

#endif  // QUIRE_KERNELS_CUDA_SAMPLING_KERNELS_H_
