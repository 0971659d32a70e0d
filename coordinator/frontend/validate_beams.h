// The beam search part of validate.h. Pure; any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_VALIDATE_BEAMS_H_
#define QUIRE_COORDINATOR_FRONTEND_VALIDATE_BEAMS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "coordinator/request/request.h"

namespace quire::v1 {
class SamplingParams;
}

namespace quire::frontend {

inline constexpr uint32_t kBeamWidthMax = 64;
inline constexpr float kLengthPenaltyMax = 10;

// Reads use_beam_search, beam_width, length_penalty and early_stopping, and refuses by name what cannot go with a beam
// search. Beams follow the model's own distribution: the model's default temperature, top_k, top_p, min_p and
// repetition_penalty are set aside. Requires: n and the floats of `out` are read. Errors: INVALID_ARGUMENT.
absl::Status ReadBeams(const v1::SamplingParams& in, int64_t max_num_seqs, request::SamplingParams* out);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_VALIDATE_BEAMS_H_
