// OpenAI's requests, with vLLM's fields beside OpenAI's, as requests of the clients' protocol.
//
// Pure functions; any thread.
// Invariants:
//   O1  What the two APIs share goes to v1::GenerateRequest unchecked: limits are validation's business (frontend,
//       validate.h). Checked here is what JSON can get wrong: types, nesting, size, keys that come twice.
//   O2  A field that is known and not served is refused by its name, never ignored. Accepted and without effect, because
//       they ask for nothing here: user, store, metadata, service_tier, safety_identifier,
//       prompt_cache_key. A field that nobody knows is ignored and counted.
//   O3  null is the same as absent, everywhere.
//   O4  Templates and cache keys are never taken from a client.
#ifndef QUIRE_COORDINATOR_OPENAI_CALL_H_
#define QUIRE_COORDINATOR_OPENAI_CALL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/generate.pb.h"

namespace quire::openai {

inline constexpr size_t kPromptsMax = 64;  // of one call

enum class Endpoint { kCompletion, kChat };

// Where calls of tools are in a model's output.
enum class ToolOutput {
  kNone,       // nowhere
  kTagged,     // between tags, if the model makes any (tool_calls.h)
  kList,       // all of it is a JSON list of {"name", "parameters"}
  kArguments,  // all of it is the arguments of the one tool that was asked for
};

// What of a call its answer depends on.
struct AnswerOptions {
  Endpoint endpoint = Endpoint::kCompletion;
  bool stream = false;
  bool include_usage = false;           // a chunk with the usage and no choices before [DONE]
  bool continuous_usage_stats = false;  // vLLM: usage so far in every chunk
  uint32_t num_prompts = 1;
  uint32_t n = 1;                    // choices of each prompt
  bool logprobs = false;             // of the output, and with `echo` of the prompt
  bool prompt_logprobs = false;      // vLLM's own field of that name
  bool echo = false;                 // completions: the prompt comes back before the text
  bool tokens_as_token_ids = false;  // "token_id:17" instead of texts in log-probs
  ToolOutput tool_output = ToolOutput::kNone;
  std::string tool_name;                 // for kArguments
  bool parallel_tool_calls = true;       // false: only the first of them
  std::vector<uint32_t> stop_token_ids;  // only these are named in stop_reason, not the model's own
};

// How the client named what the protocol names otherwise.
struct ClientNames {
  Endpoint endpoint = Endpoint::kCompletion;
  std::string max_tokens = "max_tokens";            // or max_completion_tokens
  std::string logprobs = "logprobs";                // or top_logprobs
  std::string prompt_logprobs = "prompt_logprobs";  // or logprobs, if echo asks for them
  std::string constraint = "response_format";       // the field that asks for one
  bool batch = false;                               // the prompt is a list of prompts
};

struct Call {
  AnswerOptions answer;
  ClientNames names;
  std::string model;                          // as the client named it; empty: did not
  std::vector<v1::GenerateRequest> requests;  // one a prompt, in order
  size_t num_unknown_fields = 0;              // at top level; ignored
};

// The bodies of POST /v1/completions and POST /v1/chat/completions. Errors: INVALID_ARGUMENT with the field as the
// client named it (frontend/field_error.h), none if the body as a whole is at fault.
absl::StatusOr<Call> ParseCompletion(absl::string_view body);
absl::StatusOr<Call> ParseChatCompletion(absl::string_view body);

// An error of validation about requests[prompt], in the client's names: "sampling_params.max_tokens must ..." becomes
// "max_completion_tokens must ...", the field with it.
absl::Status InClientNames(const absl::Status& status, const ClientNames& names, size_t prompt);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_CALL_H_
