// Log-probs in the three shapes that clients know.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_
#define QUIRE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_

#include <cstddef>
#include <string>

#include "proto/generate.pb.h"

namespace quire::openai {

// Chat: {"content": [{"token", "logprob", "bytes", "top_logprobs": [...]}]}. A token whose text is no whole characters has
// null for bytes. `as_ids`: "token_id:17" stands for texts.
std::string ChatLogprobs(const v1::OutputLogprobs& output, bool as_ids);

// Completions: {"text_offset", "token_logprobs", "tokens", "top_logprobs"}, the prompt's positions first. *offset is the
// number of characters before the first token, afterwards before the next.
std::string CompletionLogprobs(const v1::InputLogprobs& prompt, const v1::OutputLogprobs& output, bool as_ids,
                               size_t* offset);

// vLLM's prompt_logprobs: [null, {"17": {"logprob", "rank", "decoded_token"}}, ...]. The rank is null where the token is
// not among the most probable ones that were asked for.
std::string PromptLogprobs(const v1::InputLogprobs& prompt);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_LOGPROBS_JSON_H_
