#include "coordinator/openai/text_calls.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coordinator/openai/chat_input.h"
#include "coordinator/openai/fields.h"
#include "coordinator/openai/json_writer.h"

namespace quire::openai {

absl::StatusOr<TokenizeCall> ParseTokenize(absl::string_view body) {
  Json json;
  if (absl::Status status = ParseBoundedJson(body, &json); !status.ok()) return status;
  absl::Status status;
  Fields fields(json, "", &status);
  TokenizeCall call;
  if (const std::string* model = fields.String("model")) call.model = *model;
  fields.Refuse("chat_template", "is never taken from a client: leave it unset.");
  fields.RefuseUnless("return_token_strs", !fields.Bool("return_token_strs").value_or(false),
                      "is not served yet; detokenize the ids.");
  const std::optional<bool> special = fields.Bool("add_special_tokens");
  if (fields.Find("messages") != nullptr) {
    fields.Refuse("prompt", "cannot go with messages.");
    fields.RefuseUnless("continue_final_message", !fields.Bool("continue_final_message").value_or(false),
                        "is not served yet; leave it unset.");
    if (special.value_or(false)) fields.Fail("add_special_tokens", "must be false: the model's template writes them.");
    call.names.endpoint = Endpoint::kChat;
    ReadChatInput(&fields, &call.chat.emplace());
  } else if (const std::string* prompt = fields.String("prompt")) {
    call.request.set_text(*prompt);
    if (special.has_value()) call.request.set_add_special_tokens(*special);
  } else {
    fields.Fail("prompt", "is required.");
  }
  if (!status.ok()) return status;
  return call;
}

std::string TokenizeBody(const std::vector<uint32_t>& ids, int64_t max_model_len) {
  return absl::StrCat(R"({"count":)", ids.size(), R"(,"max_model_len":)", max_model_len, R"(,"tokens":[)",
                      absl::StrJoin(ids, ","), R"(],"token_strs":null})");
}

absl::StatusOr<DetokenizeCall> ParseDetokenize(absl::string_view body) {
  Json json;
  if (absl::Status status = ParseBoundedJson(body, &json); !status.ok()) return status;
  absl::Status status;
  Fields fields(json, "", &status);
  DetokenizeCall call;
  if (const std::string* model = fields.String("model")) call.model = *model;
  call.request.set_skip_special_tokens(fields.Bool("skip_special_tokens").value_or(false));
  if (fields.Find("tokens") == nullptr) fields.Fail("tokens", "is required.");
  const std::vector<uint32_t> ids = fields.Ids("tokens");
  if (!status.ok()) return status;
  call.request.mutable_ids()->Add(ids.begin(), ids.end());
  return call;
}

std::string DetokenizeBody(absl::string_view text) { return absl::StrCat(R"({"prompt":)", Quoted(text), "}"); }

std::string ModelBody(const v1::GetModelInfoResponse& info, int64_t created) {
  return absl::StrCat(R"({"id":)", Quoted(info.served_model_name()), R"(,"object":"model","created":)", created,
                      R"(,"owned_by":"quire","root":)", Quoted(info.served_model_name()),
                      R"(,"parent":null,"max_model_len":)", info.max_context_length(), "}");
}

std::string ModelsBody(const v1::GetModelInfoResponse& info, int64_t created) {
  return absl::StrCat(R"({"object":"list","data":[)", ModelBody(info, created), "]}");
}

}  // namespace quire::openai
