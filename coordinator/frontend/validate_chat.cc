#include "coordinator/frontend/validate_chat.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/jinja/json_text.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

absl::Status Invalid(const std::string& field, absl::string_view what) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, what);
}

absl::Status CheckSize(const std::string& field, const std::string& text, size_t most) {
  if (text.size() <= most) return absl::OkStatus();
  return Invalid(field, absl::StrCat("may have at most ", most, " bytes, got ", text.size(), "."));
}

absl::Status CheckRole(const std::string& field, const std::string& role) {
  const auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  };
  if (role.empty() || role.size() > kChatRoleBytesMax) {
    return Invalid(field, absl::StrCat("must have 1 to ", kChatRoleBytesMax, " bytes, got ", role.size(), "."));
  }
  if (std::all_of(role.begin(), role.end(), allowed)) return absl::OkStatus();
  return Invalid(field, "may hold only [A-Za-z0-9_-].");
}

// JSON of one type; `what` says which in an error.
absl::StatusOr<jinja::Value> ReadJson(const std::string& field, const std::string& text, size_t most,
                                      bool (jinja::Value::*is)() const, absl::string_view what) {
  if (absl::Status s = CheckSize(field, text, most); !s.ok()) return s;
  absl::StatusOr<jinja::Value> value = jinja::ParseJson(text);
  if (!value.ok()) return Invalid(field, absl::StrCat("must be ", what, ": ", value.status().message(), "."));
  if (((*value).*is)()) return value;
  return Invalid(field, absl::StrCat("must be ", what, ", got a ", jinja::TypeName(*value), "."));
}

absl::StatusOr<chat::ToolCall> ReadToolCall(const std::string& field, const v1::ChatToolCall& in) {
  if (absl::Status s = CheckSize(field + ".id", in.id(), kChatNameBytesMax); !s.ok()) return s;
  if (absl::Status s = CheckSize(field + ".name", in.name(), kChatNameBytesMax); !s.ok()) return s;
  if (in.name().empty()) return Invalid(field + ".name", "is required.");
  chat::ToolCall call;
  call.id = in.id();
  call.name = in.name();
  call.arguments = jinja::Value::Dict({});
  if (in.arguments().empty()) return call;
  absl::StatusOr<jinja::Value> arguments =
      ReadJson(field + ".arguments", in.arguments(), kChatJsonBytesMax, &jinja::Value::is_dict, "a JSON object");
  if (!arguments.ok()) return arguments.status();
  call.arguments = *std::move(arguments);
  return call;
}

absl::StatusOr<chat::ChatMessage> ReadMessage(const std::string& field, const v1::ChatMessage& in) {
  if (absl::Status s = CheckRole(field + ".role", in.role()); !s.ok()) return s;
  if (absl::Status s = CheckSize(field + ".name", in.name(), kChatNameBytesMax); !s.ok()) return s;
  if (absl::Status s = CheckSize(field + ".tool_call_id", in.tool_call_id(), kChatNameBytesMax); !s.ok()) return s;
  if (in.tool_calls_size() > kChatToolCallsMax) {
    return Invalid(field + ".tool_calls",
                   absl::StrCat("may hold at most ", kChatToolCallsMax, " calls, got ", in.tool_calls_size(), "."));
  }
  if (!in.has_content() && in.tool_calls().empty()) {
    return Invalid(field + ".content", "is required where there are no tool_calls.");
  }
  chat::ChatMessage message;
  message.role = in.role();
  if (in.has_content()) message.content = in.content();
  message.name = in.name();
  message.reasoning_content = in.reasoning_content();
  message.tool_call_id = in.tool_call_id();
  for (int i = 0; i < in.tool_calls_size(); ++i) {
    absl::StatusOr<chat::ToolCall> call = ReadToolCall(absl::StrCat(field, ".tool_calls[", i, "]"), in.tool_calls(i));
    if (!call.ok()) return call.status();
    message.tool_calls.push_back(*std::move(call));
  }
  return message;
}

absl::StatusOr<jinja::Value> ReadTools(const std::string& text) {
  const std::string field = "chat.tools";
  absl::StatusOr<jinja::Value> tools =
      ReadJson(field, text, kChatJsonBytesMax, &jinja::Value::is_list, "a JSON array of tools");
  if (!tools.ok()) return tools;
  if (tools->items().size() > kChatToolsMax) {
    return Invalid(field, absl::StrCat("may hold at most ", kChatToolsMax, " tools, got ", tools->items().size(), "."));
  }
  for (size_t i = 0; i < tools->items().size(); ++i) {
    const jinja::Value& tool = tools->items()[i];
    const jinja::Value* function = tool.is_dict() ? tool.dict().Find("function") : nullptr;
    const jinja::Value* name = function != nullptr && function->is_dict() ? function->dict().Find("name") : nullptr;
    if (name != nullptr && name->is_string() && !name->text().empty()) continue;
    return Invalid(absl::StrCat(field, "[", i, "]"),
                   R"(must be {"type": "function", "function": {"name": ..., "parameters": ...}}.)");
  }
  return tools;
}

absl::StatusOr<jinja::Value> ReadKwargs(const std::string& text) {
  const std::string field = "chat.chat_template_kwargs";
  absl::StatusOr<jinja::Value> kwargs =
      ReadJson(field, text, kChatKwargsBytesMax, &jinja::Value::is_dict, "a JSON object");
  if (!kwargs.ok()) return kwargs;
  for (const auto& entry : kwargs->dict().entries) {
    const std::string& name = entry.first.text();
    if (!chat::IsReservedVariable(name)) continue;
    return Invalid(field, absl::StrCat("cannot set '", name.substr(0, 64),
                                       "': it comes from the model or from a field of its own."));
  }
  return kwargs;
}

}  // namespace

absl::StatusOr<ChatPrompt> ReadChat(const v1::ChatInput& in, const RenderChat& render) {
  if (render == nullptr) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "chat",
                      "cannot be taken: this server has no tokenizer; send tokenized.input_ids.");
  }
  if (in.messages().empty() || in.messages_size() > kChatMessagesMax) {
    return Invalid("chat.messages",
                   absl::StrCat("must hold 1 to ", kChatMessagesMax, " messages, got ", in.messages_size(), "."));
  }
  chat::ChatRequest request;
  for (int i = 0; i < in.messages_size(); ++i) {
    absl::StatusOr<chat::ChatMessage> message = ReadMessage(absl::StrCat("chat.messages[", i, "]"), in.messages(i));
    if (!message.ok()) return message.status();
    request.messages.push_back(*std::move(message));
  }
  if (in.has_tools()) {
    absl::StatusOr<jinja::Value> tools = ReadTools(in.tools());
    if (!tools.ok()) return tools.status();
    request.tools = *std::move(tools);
  }
  if (in.has_chat_template_kwargs()) {
    absl::StatusOr<jinja::Value> kwargs = ReadKwargs(in.chat_template_kwargs());
    if (!kwargs.ok()) return kwargs.status();
    request.variables = *std::move(kwargs);
  }
  request.add_generation_prompt = !in.has_add_generation_prompt() || in.add_generation_prompt();
  absl::StatusOr<ChatPrompt> prompt = render(request);
  if (prompt.ok()) return prompt;
  const absl::Status& status = prompt.status();
  if (absl::IsFailedPrecondition(status)) {
    return FieldError(status.code(), "chat", absl::StrCat("cannot be taken: ", status.message(), "."));
  }
  return FieldError(status.code(), "chat.messages", absl::StrCat("make no prompt: ", status.message(), "."));
}

void AddChatStops(const ChatPrompt& prompt, const Encode& encode, bool wants_text, request::SamplingParams* out) {
  for (const std::string& stop : prompt.stops) {
    const absl::StatusOr<std::vector<int32_t>> ids = encode(stop, /*add_special_tokens=*/false);
    if (ids.ok() && ids->size() == 1) {
      out->stop_token_ids.push_back(ids->front());
    } else if (wants_text) {
      out->stop.push_back(stop);
    }
  }
}

}  // namespace quire::frontend
