// The small routes beside generation, in vLLM's shapes: tokenize, detokenize, the list of models.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_TEXT_CALLS_H_
#define QUIRE_COORDINATOR_OPENAI_TEXT_CALLS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/openai/call.h"
#include "proto/generate.pb.h"

namespace quire::openai {

// POST /tokenize: {"prompt": text}, or {"messages": [...]} as in a chat completion.
struct TokenizeCall {
  std::string model;  // empty: not named
  ClientNames names;  // for InClientNames
  v1::TokenizeRequest request;
  std::optional<v1::ChatInput> chat;  // set for messages; `request` is empty then
};
absl::StatusOr<TokenizeCall> ParseTokenize(absl::string_view body);
std::string TokenizeBody(const std::vector<uint32_t>& ids, int64_t max_model_len);

// POST /detokenize: {"tokens": ids}. Special tokens are shown unless skip_special_tokens says otherwise.
struct DetokenizeCall {
  std::string model;
  ClientNames names;
  v1::DetokenizeRequest request;
};
absl::StatusOr<DetokenizeCall> ParseDetokenize(absl::string_view body);
std::string DetokenizeBody(absl::string_view text);

// GET /v1/models, and GET /v1/models/{id} for the one that is served.
std::string ModelsBody(const v1::GetModelInfoResponse& info, int64_t created);
std::string ModelBody(const v1::GetModelInfoResponse& info, int64_t created);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_TEXT_CALLS_H_
