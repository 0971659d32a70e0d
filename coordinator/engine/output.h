// What the core says about one choice after one step. Plain data; made on the engine thread, handed to sinks.
#ifndef QUIRE_COORDINATOR_ENGINE_OUTPUT_H_
#define QUIRE_COORDINATOR_ENGINE_OUTPUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "coordinator/request/stop_checker.h"
#include "coordinator/scheduler/step_plan.h"

namespace quire::engine {

struct TokenDelta {
  int32_t token = -1;
  TokenLogprobs logprobs;  // valid iff params.logprobs >= 0 or best_of > n
};

using request::FinishReason;

// News of one choice after one step.
struct ChoiceDelta {
  uint32_t index = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the prefix cache
  // In the request's first delta, if it asked: of the prompt's tokens from the second on.
  std::vector<TokenLogprobs> prompt_logprobs;
  uint64_t offset = 0;                        // of tokens[0] in the choice's output
  absl::InlinedVector<TokenDelta, 1> tokens;  // usually one
  std::string text;                           // may trail the tokens
  bool finished = false;
  // Valid iff finished:
  FinishReason reason = FinishReason::kStop;
  int32_t matched_stop_token = -1;  // a stop_token_ids or end-of-sequence id; -1 = none
  std::string matched_stop_str;     // empty = none
};

struct RequestTiming {
  absl::Duration queue;    // arrival to first scheduled
  absl::Duration prefill;  // first scheduled to first token
  absl::Duration decode;   // first token to last
};

}  // namespace quire::engine

#endif  // QUIRE_COORDINATOR_ENGINE_OUTPUT_H_
