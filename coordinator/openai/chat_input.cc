#include "coordinator/openai/chat_input.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace quire::openai {
namespace {

// JSON that was read from UTF-8 and so can be written.
std::string Dump(const Json& value) { return value.dump(); }

void ReadPart(Fields* part, absl::string_view type, std::string* out) {
  if (type != "text" && type != "refusal") {
    part->Fail("type", "must be 'text': other parts of messages are not served.");
    return;
  }
  const std::string* text = part->String(type);
  if (text == nullptr) {
    part->Fail(type, "is required.");
    return;
  }
  out->append(*text);
}

void ReadContent(Fields* message, v1::ChatMessage* out) {
  const Json* content = message->Find("content");
  if (content == nullptr) return;
  if (content->is_string()) {
    out->set_content(content->get_ref<const std::string&>());
    return;
  }
  if (!content->is_array()) {
    message->Fail("content", absl::StrCat("must be a string or a list of parts, got ", TypeOf(*content), "."));
    return;
  }
  if (message->Array("content") == nullptr) return;
  std::string* text = out->mutable_content();
  for (size_t i = 0; i < content->size() && message->ok(); ++i) {
    const std::string name = absl::StrCat("content[", i, "]");
    if (i > 0) text->push_back('\n');
    if ((*content)[i].is_string()) {
      text->append((*content)[i].get_ref<const std::string&>());
      continue;
    }
    if (!(*content)[i].is_object()) {
      message->Fail(name, absl::StrCat("must be an object, got ", TypeOf((*content)[i]), "."));
      return;
    }
    Fields part((*content)[i], message->Path(name + "."), message->mutable_status());
    const std::string* type = part.String("type");
    ReadPart(&part, type == nullptr ? "" : *type, text);
  }
}

void ReadToolCall(Fields* call, v1::ChatToolCall* out) {
  if (const std::string* id = call->String("id")) out->set_id(*id);
  if (const std::string* type = call->String("type"); type != nullptr && *type != "function") {
    call->Fail("type", "must be 'function'.");
  }
  const Json* function = call->Object("function");
  if (function == nullptr) {
    call->Fail("function", "is required.");
    return;
  }
  Fields fields(*function, call->Path("function."), call->mutable_status());
  if (const std::string* name = fields.String("name")) out->set_name(*name);
  const Json* arguments = fields.Find("arguments");
  if (arguments == nullptr) return;
  if (arguments->is_object()) {
    out->set_arguments(Dump(*arguments));
  } else if (const std::string* text = fields.String("arguments")) {
    out->set_arguments(*text);
  }
}

void ReadMessage(Fields* message, v1::ChatMessage* out) {
  if (const std::string* role = message->String("role")) out->set_role(*role);
  ReadContent(message, out);
  if (const std::string* name = message->String("name")) out->set_name(*name);
  if (const std::string* id = message->String("tool_call_id")) out->set_tool_call_id(*id);
  for (const char* name : {"reasoning", "reasoning_content"}) {  // vLLM's names, the newer one first
    if (const std::string* text = message->String(name)) out->set_reasoning_content(*text);
  }
  message->Refuse("function_call", "is not served; use tool_calls.");
  message->Refuse("audio", "is not served: messages are texts.");
  const Json* calls = message->Array("tool_calls");
  for (size_t i = 0; calls != nullptr && i < calls->size() && message->ok(); ++i) {
    const std::string name = absl::StrCat("tool_calls[", i, "]");
    if (!(*calls)[i].is_object()) {
      message->Fail(name, absl::StrCat("must be an object, got ", TypeOf((*calls)[i]), "."));
      return;
    }
    Fields call((*calls)[i], message->Path(name + "."), message->mutable_status());
    ReadToolCall(&call, out->add_tool_calls());
  }
}

// Variables for the template: chat_template_kwargs and those that have fields of their own, which win.
void ReadVariables(Fields* fields, v1::ChatInput* out) {
  const Json* kwargs = fields->Object("chat_template_kwargs");
  const Json* documents = fields->Array("documents");
  const std::string* effort = fields->String("reasoning_effort");
  if (kwargs == nullptr && documents == nullptr && effort == nullptr) return;
  Json variables = kwargs == nullptr ? Json::object() : *kwargs;
  if (documents != nullptr) variables["documents"] = *documents;
  if (effort != nullptr) variables["reasoning_effort"] = *effort;
  out->set_chat_template_kwargs(Dump(variables));
}

}  // namespace

void ReadChatInput(Fields* fields, v1::ChatInput* out) {
  if (const auto v = fields->Bool("add_generation_prompt")) out->set_add_generation_prompt(*v);
  ReadVariables(fields, out);
  if (const Json* tools = fields->Array("tools"); tools != nullptr && !tools->empty()) out->set_tools(Dump(*tools));
  const Json* messages = fields->Array("messages");
  if (messages == nullptr) {
    fields->Fail("messages", "is required.");
    return;
  }
  for (size_t i = 0; i < messages->size() && fields->ok(); ++i) {
    const std::string name = absl::StrCat("messages[", i, "]");
    if (!(*messages)[i].is_object()) {
      fields->Fail(name, absl::StrCat("must be an object, got ", TypeOf((*messages)[i]), "."));
      return;
    }
    Fields message((*messages)[i], fields->Path(name + "."), fields->mutable_status());
    ReadMessage(&message, out->add_messages());
  }
}

}  // namespace quire::openai
