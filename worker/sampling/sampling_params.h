// How one sequence samples, as the rank keeps it: sent once with the sequence, checked here. Plain data.
#ifndef QUIRE_WORKER_SAMPLING_SAMPLING_PARAMS_H_
#define QUIRE_WORKER_SAMPLING_SAMPLING_PARAMS_H_

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::worker::v1 {
class NewSequence;
}

namespace quire::worker {

// Prompt positions whose log-probs are wanted: from `first` to the end of the prompt, each with `num_top` alternatives.
struct PromptRows {
  int32_t first = 1;
  int32_t num_top = 0;
};

struct SamplingParams {
  uint64_t seed = 0;
  uint32_t choice = 0;
  float temperature = 1.0f;
  float top_p = 1.0f;
  float min_p = 0.0f;
  int32_t top_k = 0;
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  int32_t min_tokens = 0;
  int32_t num_logprobs = -1;
  std::vector<int32_t> banned_until_min;
  std::vector<std::pair<int32_t, float>> logit_bias;
  bool given_tokens = false;  // the plan brings its tokens: draws are reported and not appended
  std::optional<PromptRows> prompt_rows;
  std::vector<std::vector<int32_t>> bad_words;  // each has at least one id
  std::vector<int32_t> allowed_token_ids;       // empty = all

  // Whether the tokens so far matter to the draw.
  bool has_penalties() const {
    return repetition_penalty != 1.0f || frequency_penalty != 0.0f || presence_penalty != 0.0f;
  }
};

// Reads and checks what the coordinator sent. Errors: INVALID_ARGUMENT naming the sequence, the field, its value and
// the limit.
absl::StatusOr<SamplingParams> ParseSamplingParams(const v1::NewSequence& sequence, int32_t vocab_size);

}  // namespace quire::worker

#endif  // QUIRE_WORKER_SAMPLING_SAMPLING_PARAMS_H_
