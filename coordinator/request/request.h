// A request as the core takes it: validated, tokenized, with every default filled in. Plain data; built in one place
// (frontend/validate.cc) and immutable afterwards. Field limits: docs in proto/generate.proto.
#ifndef QUIRE_COORDINATOR_REQUEST_REQUEST_H_
#define QUIRE_COORDINATOR_REQUEST_REQUEST_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/request/output_constraint.h"
#include "coordinator/request/output_decoder.h"

namespace quire::request {

// When a beam search with all its hypotheses ends: once none of its running beams looks better as it is (false), at once
// (true), or once none can become better, however long it grows (never).
enum class EarlyStopping : uint8_t { kFalse, kTrue, kNever };

// What every token asks comes first: a step waits for each cache line that it touches (sequence_group.h).
struct SamplingParams {
  uint32_t max_tokens = 16;
  uint32_t min_tokens = 0;
  int32_t logprobs = -1;  // -1 = none
  uint32_t n = 1;
  uint32_t best_of = 1;     // more than n: so many are drawn, the n of the highest log-prob per token are answered
  uint32_t beam_width = 0;  // 0 = sampling; else n <= beam_width
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop_str_in_output = false;
  float temperature = 1.0f;
  float top_p = 1.0f;
  uint32_t top_k = 0;
  float min_p = 0.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  float repetition_penalty = 1.0f;
  float length_penalty = 1.0f;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
  int32_t prompt_logprobs = -1;  // -1 = none
  uint64_t seed = 0;             // always set: drawn at admission if the client gave none
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::vector<std::vector<int32_t>> bad_words;  // as token ids; each has at least one
  std::vector<int32_t> allowed_token_ids;       // empty = all
};

// Sequences of the group: what is drawn or searched, of which n are answered.
inline uint32_t NumPlaces(const SamplingParams& p) { return std::max({p.n, p.best_of, p.beam_width}); }

struct Request {
  std::vector<int32_t> prompt_ids;
  double weight = 1;  // of the tenant, > 0
  SamplingParams params;
  std::string request_id;  // the client's label; unique among live requests
  std::string tenant;      // given by the server, never by the client: salts the prefix cache, shares service fairly
  int32_t priority = 0;    // lower first; only under the priority policy
  absl::Time deadline = absl::InfiniteFuture();
  int64_t shared_prefix_tokens = 0;  // of the prompt, declared as shared: their full blocks stay cached while it lives
  // Makes the text decoder of one choice. Called on the engine thread; null = no text (ids only).
  std::function<std::unique_ptr<OutputDecoder>()> make_decoder;
  // Makes the constraint of one choice, ready for its first token. Called on the engine thread; null = free output.
  std::function<std::unique_ptr<OutputConstraint>()> make_constraint;
};

}  // namespace quire::request

#endif  // QUIRE_COORDINATOR_REQUEST_REQUEST_H_
