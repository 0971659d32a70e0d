// ParseCompletion of call.h.
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/fields.h"
#include "coordinator/openai/parse_sampling.h"

namespace quire::openai {
namespace {

constexpr uint32_t kDefaultMaxTokens = 16;       // OpenAI's for this endpoint
constexpr size_t kBatchAllowedIdsMax = 1 << 20;  // prompts times allowed_token_ids: each request has its own copy

// One prompt of a batch or the only one.
void ReadPrompt(Fields* fields, const std::string& name, const Json& prompt, const v1::GenerateRequest& common,
                Call* call) {
  v1::GenerateRequest request = common;
  if (prompt.is_string()) {
    request.set_text(prompt.get_ref<const std::string&>());
  } else if (prompt.is_array()) {
    std::vector<uint32_t> ids;
    const absl::Status status = ReadIds(prompt, fields->Path(name), &ids);
    if (!status.ok() && fields->ok()) *fields->mutable_status() = status;
    request.mutable_tokenized()->mutable_input_ids()->Add(ids.begin(), ids.end());
  } else {
    fields->Fail(name, absl::StrCat("must be a string or a list of token ids, got ", TypeOf(prompt), "."));
    return;
  }
  call->requests.push_back(std::move(request));
}

void ReadPrompts(Fields* fields, const v1::GenerateRequest& common, Call* call) {
  const Json* prompt = fields->Find("prompt");
  if (prompt == nullptr) {
    fields->Fail("prompt", "is required.");
    return;
  }
  const bool batch = prompt->is_array() && !prompt->empty() && !prompt->front().is_number();
  if (!batch) {
    ReadPrompt(fields, "prompt", *prompt, common, call);
    return;
  }
  call->names.batch = true;
  if (prompt->size() > kPromptsMax) {
    fields->Fail("prompt", absl::StrCat("may hold at most ", kPromptsMax, " prompts, got ", prompt->size(), "."));
    return;
  }
  const auto num_ids = static_cast<size_t>(common.sampling_params().allowed_token_ids_size());
  if (num_ids * prompt->size() > kBatchAllowedIdsMax) {
    fields->Fail("allowed_token_ids", absl::StrCat("may hold at most ", kBatchAllowedIdsMax / prompt->size(),
                                                   " ids with ", prompt->size(), " prompts, got ", num_ids, "."));
    return;
  }
  for (size_t i = 0; i < prompt->size() && fields->ok(); ++i) {
    ReadPrompt(fields, absl::StrCat("prompt[", i, "]"), (*prompt)[i], common, call);
    if (fields->ok() && common.has_request_id()) {
      call->requests.back().set_request_id(absl::StrCat(common.request_id(), "-", i));
    }
  }
}

void ReadLogprobs(Fields* fields, Call* call, v1::SamplingParams* out) {
  const auto logprobs =
      fields->Int("logprobs", std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
  if (!logprobs.has_value()) return;
  call->answer.logprobs = true;
  out->set_logprobs(static_cast<int32_t>(*logprobs));
  // The prompt's tokens come back with their log-probs, too.
  if (!call->answer.echo || out->has_prompt_logprobs()) return;
  out->set_prompt_logprobs(out->logprobs());
  call->names.prompt_logprobs = "logprobs";
}

void ReadEcho(Fields* fields, Call* call, v1::GenerateRequest* out) {
  call->answer.echo = fields->Bool("echo").value_or(false);
  if (call->answer.echo) out->set_echo(true);
  v1::SamplingParams* params = out->mutable_sampling_params();
  if (!params->has_max_tokens()) params->set_max_tokens(kDefaultMaxTokens);
}

}  // namespace

absl::StatusOr<Call> ParseCompletion(absl::string_view body) {
  Json json;
  if (absl::Status status = ParseBoundedJson(body, &json); !status.ok()) return status;
  absl::Status status;
  Fields fields(json, "", &status);
  Call call;
  v1::GenerateRequest common;
  ReadEnvelope(&fields, &call, &common);
  ReadSampling(&fields, &call, common.mutable_sampling_params());
  ReadEcho(&fields, &call, &common);
  ReadLogprobs(&fields, &call, common.mutable_sampling_params());
  const Json* suffix = fields.Find("suffix");
  const bool no_suffix = suffix != nullptr && suffix->is_string() && suffix->get_ref<const std::string&>().empty();
  fields.RefuseUnless("suffix", no_suffix, "is not served: models here write on, they do not fill in.");
  fields.RefuseUnless("add_special_tokens", fields.Bool("add_special_tokens").value_or(true),
                      "cannot be false for a text; send token ids.");
  if (call.answer.prompt_logprobs && call.answer.stream) {
    fields.Fail("prompt_logprobs", "cannot be streamed; ask for echo and logprobs, or do not stream.");
  }
  RefuseUnserved(&fields);
  if (fields.ok()) ReadPrompts(&fields, common, &call);
  if (!status.ok()) return status;
  call.answer.num_prompts = static_cast<uint32_t>(call.requests.size());
  call.num_unknown_fields = fields.CountUnknown();
  return call;
}

}  // namespace quire::openai
