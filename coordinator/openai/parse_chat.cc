// ParseChatCompletion of call.h.
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/chat_input.h"
#include "coordinator/openai/fields.h"
#include "coordinator/openai/parse_sampling.h"
#include "coordinator/openai/tool_choice.h"

namespace quire::openai {
namespace {

void ReadLogprobs(Fields* fields, Call* call, v1::SamplingParams* out) {
  call->answer.logprobs = fields->Bool("logprobs").value_or(false);
  const auto top =
      fields->Int("top_logprobs", std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
  if (!call->answer.logprobs) {
    if (top.value_or(0) != 0) fields->Fail("top_logprobs", "needs logprobs: true.");
    return;
  }
  out->set_logprobs(static_cast<int32_t>(top.value_or(0)));
  if (top.has_value()) call->names.logprobs = "top_logprobs";
}

void RefuseOfChat(Fields* fields) {
  fields->Refuse("functions", "is not served; use tools.");
  fields->Refuse("function_call", "is not served; use tool_choice.");
  fields->Refuse("audio", "is not served: answers are texts.");
  fields->Refuse("prediction", "is not served; leave it unset.");
  fields->Refuse("web_search_options", "is not served: this server opens no connections.");
  for (const std::string& modality : fields->Strings("modalities")) {
    if (modality != "text") fields->Fail("modalities", "must be [\"text\"].");
  }
  constexpr char kNotYet[] = "is not served yet; leave it unset.";
  fields->RefuseUnless("continue_final_message", !fields->Bool("continue_final_message").value_or(false), kNotYet);
  fields->RefuseUnless("echo", !fields->Bool("echo").value_or(false), kNotYet);
  fields->RefuseUnless("add_special_tokens", !fields->Bool("add_special_tokens").value_or(false),
                       "must be false: the model's template writes them.");
}

}  // namespace

absl::StatusOr<Call> ParseChatCompletion(absl::string_view body) {
  Json json;
  if (absl::Status status = ParseBoundedJson(body, &json); !status.ok()) return status;
  absl::Status status;
  Fields fields(json, "", &status);
  Call call;
  call.answer.endpoint = call.names.endpoint = Endpoint::kChat;
  v1::GenerateRequest request;
  ReadEnvelope(&fields, &call, &request);
  ReadSampling(&fields, &call, request.mutable_sampling_params());
  ReadLogprobs(&fields, &call, request.mutable_sampling_params());
  if (call.answer.prompt_logprobs && call.answer.stream) {
    fields.Fail("prompt_logprobs", "cannot be streamed; leave it unset or do not stream.");
  }
  RefuseUnserved(&fields);
  RefuseOfChat(&fields);
  ReadChatInput(&fields, request.mutable_chat());
  ReadToolChoice(&fields, &call, request.mutable_sampling_params());
  if (!status.ok()) return status;
  call.requests.push_back(std::move(request));
  call.num_unknown_fields = fields.CountUnknown();
  return call;
}

}  // namespace quire::openai
