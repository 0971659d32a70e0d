// InClientNames of call.h.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/call.h"

namespace quire::openai {
namespace {

std::string ClientName(absl::string_view field, const ClientNames& names, size_t prompt) {
  if (absl::ConsumePrefix(&field, "sampling_params.")) {
    if (field == "max_tokens") return names.max_tokens;
    if (field == "logprobs") return names.logprobs;
    if (field == "prompt_logprobs") return names.prompt_logprobs;
    for (const absl::string_view kind :
         {"json_schema", "json_object", "regex", "grammar", "structural_tag", "choice"}) {
      if (absl::StartsWith(field, kind)) return names.constraint;
    }
    return std::string(field);
  }
  if (field == "chat") return "messages";
  if (field == "ids") return "tokens";  // of a detokenization
  if (absl::ConsumePrefix(&field, "chat.")) {
    const size_t call = field.find(".tool_calls[");
    if (call == absl::string_view::npos) return std::string(field);
    return absl::StrReplaceAll(field, {{"].name", "].function.name"}, {"].arguments", "].function.arguments"}});
  }
  if (field != "text" && field != "input" && !absl::StartsWith(field, "tokenized")) return std::string(field);
  if (names.endpoint == Endpoint::kChat) return "messages";
  return names.batch ? absl::StrCat("prompt[", prompt, "]") : "prompt";
}

}  // namespace

absl::Status InClientNames(const absl::Status& status, const ClientNames& names, size_t prompt) {
  const std::string field = frontend::ErrorField(status);
  if (field.empty()) return status;
  const std::string name = ClientName(field, names, prompt);
  absl::string_view what = status.message();
  const bool begins = absl::ConsumePrefix(&what, field);
  absl::Status renamed(status.code(), begins ? absl::StrCat(name, what) : std::string(what));
  status.ForEachPayload([&renamed](absl::string_view url, const absl::Cord& value) { renamed.SetPayload(url, value); });
  return frontend::WithErrorField(renamed, name);
}

}  // namespace quire::openai
