#include "coordinator/text/chat/chat_format.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/chat/builtin_formats.h"
#include "coordinator/text/chat/chat_files.h"
#include "coordinator/text/jinja/json_text.h"
#include "coordinator/text/json_node.h"

namespace quire::chat {
namespace {

using jinja::Entries;
using jinja::Value;

void Add(const char* name, Value value, Entries* entries) {
  entries->emplace_back(Value::String(name), std::move(value));
}

void AddText(const char* name, const std::string& text, Entries* entries) {
  if (!text.empty()) Add(name, Value::String(text), entries);
}

std::string ToJson(const Value& value) {
  jinja::Rendering rendering(jinja::Limits{}, jinja::Clock{});
  std::string text;
  jinja::PrintJson(&rendering, value, jinja::JsonStyle(), &text);
  return text;
}

Value ToValue(const ToolCall& call, bool arguments_as_text) {
  Entries function, entries;
  Add("name", Value::String(call.name), &function);
  Add("arguments", arguments_as_text ? Value::String(ToJson(call.arguments)) : call.arguments, &function);
  AddText("id", call.id, &entries);
  Add("type", Value::String("function"), &entries);
  Add("function", Value::Dict(std::move(function)), &entries);
  return Value::Dict(std::move(entries));
}

Value ToValue(const ChatMessage& message, bool arguments_as_text) {
  Entries entries;
  Add("role", Value::String(message.role), &entries);
  Add("content", message.content.has_value() ? Value::String(*message.content) : Value::None(), &entries);
  AddText("name", message.name, &entries);
  AddText("tool_call_id", message.tool_call_id, &entries);
  if (!message.tool_calls.empty()) {
    std::vector<Value> calls;
    for (const ToolCall& call : message.tool_calls) calls.push_back(ToValue(call, arguments_as_text));
    Add("tool_calls", Value::List(std::move(calls)), &entries);
  }
  // Under the two names that templates know it by.
  AddText("reasoning_content", message.reasoning_content, &entries);
  AddText("thinking", message.reasoning_content, &entries);
  return Value::Dict(std::move(entries));
}

bool HasTools(const ChatRequest& request) { return request.tools.is_list() && !request.tools.items().empty(); }

}  // namespace

bool IsReservedVariable(const std::string& name) {
  static constexpr absl::string_view kReserved[] = {"messages",
                                                    "tools",
                                                    "add_generation_prompt",
                                                    "continue_final_message",
                                                    "chat_template",
                                                    "conversation",
                                                    "namespace",
                                                    "range",
                                                    "dict",
                                                    "raise_exception",
                                                    "strftime_now",
                                                    "loop"};
  return absl::EndsWith(name, "_token") ||
         std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved);
}

absl::Status ChatFormat::Parse(const std::string& name, const std::string& source, const std::string& origin) {
  absl::StatusOr<std::unique_ptr<const jinja::Template>> parsed = jinja::Template::Parse(source);
  if (!parsed.ok()) {
    return absl::Status(parsed.status().code(),
                        absl::StrCat("chat template '", name, "' of ", origin, ": ", parsed.status().message()));
  }
  Entry entry;
  entry.parsed = *std::move(parsed);
  entry.arguments_as_text = WantsArgumentsAsText(*entry.parsed);
  templates_.emplace(name, std::move(entry));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<const ChatFormat>> ChatFormat::Load(const std::string& model_dir,
                                                                   const std::string& template_path) {
  absl::StatusOr<ChatFiles> files = ReadChatFiles(model_dir);
  if (!files.ok()) return files.status();
  std::unique_ptr<ChatFormat> format(new ChatFormat);
  for (const auto& [name, token] : files->special_tokens)
    Add(name.c_str(), Value::String(token), &format->special_tokens_);
  if (!template_path.empty()) {
    absl::StatusOr<std::string> source = text::ReadBoundedFile(template_path, int64_t{jinja::kTemplateBytesMax});
    if (!source.ok()) return source.status();
    files->templates = {{kDefaultTemplate, {*std::move(source), template_path}}};
  }
  const BuiltinFormat* builtin = files->templates.empty() ? FindBuiltinFormat(files->hints) : nullptr;
  if (builtin != nullptr) {
    files->templates = {{kDefaultTemplate, {builtin->source, absl::StrCat("built in: ", builtin->name)}}};
    format->add_special_tokens_ = builtin->add_special_tokens;
    format->stops_ = builtin->stops;
  }
  if (files->templates.empty()) return absl::NotFoundError(absl::StrCat(model_dir, ": the model has no chat template"));
  format->origin_ = files->templates.begin()->second.origin;
  for (const auto& [name, source] : files->templates) {
    if (absl::Status status = format->Parse(name, source.text, source.origin); !status.ok()) return status;
  }
  return std::unique_ptr<const ChatFormat>(std::move(format));
}

Value ChatFormat::Variables(const ChatRequest& request, bool arguments_as_text) const {
  Entries variables = special_tokens_;
  std::vector<Value> messages;
  for (const ChatMessage& message : request.messages) messages.push_back(ToValue(message, arguments_as_text));
  Add("documents", Value::None(), &variables);
  if (request.variables.is_dict()) {
    const Entries& more = request.variables.dict().entries;
    variables.insert(variables.end(), more.begin(), more.end());
  }
  Add("messages", Value::List(std::move(messages)), &variables);
  Add("tools", HasTools(request) ? request.tools : Value::None(), &variables);
  Add("add_generation_prompt", Value::Bool(request.add_generation_prompt), &variables);
  return Value::Dict(std::move(variables));
}

bool ChatFormat::WantsArgumentsAsText(const jinja::Template& parsed) const {
  ChatRequest probe;
  probe.messages.resize(2);
  probe.messages[0].role = "user";
  probe.messages[0].content = "x";
  probe.messages[1].role = "assistant";
  probe.messages[1].content = "";
  ToolCall call;
  call.id = "123456789";
  call.name = "f";
  call.arguments = Value::Dict({{Value::String("a"), Value::Int(1)}});
  probe.messages[1].tool_calls = {call};
  const jinja::Clock clock{absl::UnixEpoch(), absl::UTCTimeZone()};
  const absl::StatusOr<std::string> as_dict = parsed.Render(Variables(probe, false), clock);
  const bool shows_python = as_dict.ok() && absl::StrContains(*as_dict, "{'a': 1}");
  if (as_dict.ok() && !shows_python) return false;
  return parsed.Render(Variables(probe, true), clock).ok();
}

absl::StatusOr<std::string> ChatFormat::Prompt(const ChatRequest& request, const jinja::Clock& clock) const {
  auto it = HasTools(request) ? templates_.find(kToolTemplate) : templates_.end();
  if (it == templates_.end()) it = templates_.find(kDefaultTemplate);
  if (it == templates_.end()) {
    return absl::FailedPreconditionError("the model has chat templates for other uses only, none for this one");
  }
  absl::StatusOr<std::string> text = it->second.parsed->Render(Variables(request, it->second.arguments_as_text), clock);
  if (text.ok()) return text;
  return absl::Status(text.status().code(),
                      absl::StrCat("the model's chat template stopped at ", text.status().message()));
}

}  // namespace quire::chat
