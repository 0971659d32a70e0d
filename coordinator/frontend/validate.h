// From the client's message to the request that the core takes: the only place where a field is checked or gets its
// default. Every edge comes through here.
//
// Pure but for the draw of an absent seed or id; any thread.
// Invariants:
//   F1  What Validate returns is within every limit below; the engine checks only what depends on its state (queue,
//       cache, live ids).
//   F2  Every field of GenerateRequest is read here. A field that is not served yet is UNIMPLEMENTED by name, never
//       silence. One exception: tokenized.original_text is a remark for the reader of a trace and has no effect.
//   F3  Cheap checks come before the tokenizer runs.
#ifndef QUIRE_COORDINATOR_FRONTEND_VALIDATE_H_
#define QUIRE_COORDINATOR_FRONTEND_VALIDATE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/frontend/encode.h"
#include "coordinator/frontend/generation_config.h"
#include "coordinator/frontend/render_chat.h"
#include "coordinator/request/request.h"

namespace quire::v1 {
class GenerateRequest;
}

namespace quire::frontend {

inline constexpr size_t kRequestIdBytesMax = 128;
inline constexpr uint32_t kChoicesMax = 128;
inline constexpr size_t kStopTokenIdsMax = 64;
inline constexpr size_t kLogitBiasMax = 1024;
// Log-probs of one prompt: tokens times (1 + alternatives). They wait in memory for the last chunk and leave in one
// message, which the engine thread may have to write.
inline constexpr int64_t kPromptLogprobsMax = 1 << 18;

// What the served model and the flags allow.
struct Limits {
  std::string served_model_name;
  int32_t vocab_size = 0;
  int64_t max_model_len = 0;  // tokens, prompt and output together
  int32_t max_logprobs = 20;
  int64_t max_num_seqs = 256;
  bool prefix_caching = true;
  bool priorities = false;  // the scheduling policy looks at GenerateRequest.priority
  GenerationDefaults defaults;
};

// Leaves `deadline` and `make_decoder` of the result unset: they belong to the RPC. Every error carries its field
// (field_error.h). Errors: INVALID_ARGUMENT a limit is broken, with the value and the limit; NOT_FOUND unknown model;
// UNIMPLEMENTED not served yet; FAILED_PRECONDITION text without a tokenizer, a chat without a template. Requires:
// `render_chat` is null where `encode` is.
absl::StatusOr<request::Request> Validate(const v1::GenerateRequest& message, const Limits& limits,
                                          const Encode& encode, const RenderChat& render_chat = nullptr);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_VALIDATE_H_
