// Conversations: every limit, what the template is given, and what becomes of its prompt.
#include "coordinator/frontend/validate_chat.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/validate.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/jinja/json_text.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

Limits TestLimits() {
  Limits limits;
  limits.vocab_size = 1000;
  limits.max_model_len = 256;
  return limits;
}

// One token per byte; "<end>" is one, too, and special tokens would add one.
absl::StatusOr<std::vector<int32_t>> Encode(const std::string& text, bool add_special_tokens) {
  std::vector<int32_t> ids;
  if (add_special_tokens) ids.push_back(900);
  if (text == "<end>") return std::vector<int32_t>{901};
  ids.insert(ids.end(), text.begin(), text.end());
  return ids;
}

std::string Text(const std::vector<int32_t>& ids) { return std::string(ids.begin(), ids.end()); }

v1::GenerateRequest Parse(const std::string& chat) {
  v1::GenerateRequest message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(absl::StrCat("chat { ", chat, " }"), &message)) << chat;
  return message;
}

std::string Names(const jinja::Value& dict) {
  std::string names;
  for (const auto& entry : dict.dict().entries) names += entry.first.text();
  return names;
}

// Shows the request that it gets.
absl::StatusOr<ChatPrompt> Show(const chat::ChatRequest& request) {
  std::string text;
  for (const chat::ChatMessage& m : request.messages) {
    absl::StrAppend(&text, m.role, ":", m.content.value_or("null"), m.name, m.tool_call_id, m.reasoning_content);
    for (const chat::ToolCall& call : m.tool_calls) {
      absl::StrAppend(&text, "(", call.id, ",", call.name, ",", Names(call.arguments), ")");
    }
    absl::StrAppend(&text, ";");
  }
  if (request.tools.is_list()) {
    for (const jinja::Value& tool : request.tools.items()) {
      absl::StrAppend(&text, "tool ", tool.dict().Find("function")->dict().Find("name")->text());
    }
  }
  if (request.variables.is_dict()) absl::StrAppend(&text, "variables ", Names(request.variables));
  return ChatPrompt{text + (request.add_generation_prompt ? ">" : "."), false, {}};
}

TEST(ValidateChatTest, TheTemplateGetsEveryField) {
  const v1::GenerateRequest message = Parse(R"(
    messages { role: "system" content: "S" } messages { role: "user" content: "" name: "Bo" }
    messages { role: "assistant" reasoning_content: "hm" tool_calls { id: "1" name: "f" arguments: "{\"a\": 1}" }
               tool_calls { name: "g" } }
    messages { role: "tool" content: "7" tool_call_id: "1" }
    tools: "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]" chat_template_kwargs: "{\"enable_thinking\": false}")");
  absl::StatusOr<request::Request> request = Validate(message, TestLimits(), Encode, Show);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Text(request->prompt_ids),
            "system:S;user:Bo;assistant:nullhm(1,f,a)(,g,);tool:71;tool fvariables enable_thinking>");
  request = Validate(Parse(R"(messages { role: "user" content: "x" } add_generation_prompt: false)"), TestLimits(),
                     Encode, Show);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Text(request->prompt_ids), "user:x;.") << "no special tokens are added";
}

// Paths of all fields that hold a value.
void Leaves(const google::protobuf::Descriptor& type, const std::string& prefix, std::set<std::string>* out) {
  for (int i = 0; i < type.field_count(); ++i) {
    const google::protobuf::FieldDescriptor& field = *type.field(i);
    if (field.message_type() != nullptr) {
      Leaves(*field.message_type(), absl::StrCat(prefix, field.name(), "."), out);
    } else {
      out->insert(prefix + field.name());
    }
  }
}

TEST(ValidateChatTest, EveryFieldOfTheProtocolReachesTheTemplate) {
  const std::string user = R"(role: "user" content: "x" )", one = absl::StrCat("messages { ", user, "} ");
  const std::map<std::string, std::string> rows = {
      {"messages.role", R"(messages { role: "MARK" content: "x" })"},
      {"messages.content", R"(messages { role: "user" content: "MARK" })"},
      {"messages.name", absl::StrCat("messages { ", user, R"(name: "MARK" })")},
      {"messages.tool_call_id", absl::StrCat("messages { ", user, R"(tool_call_id: "MARK" })")},
      {"messages.reasoning_content", absl::StrCat("messages { ", user, R"(reasoning_content: "MARK" })")},
      {"messages.tool_calls.id", absl::StrCat("messages { ", user, R"(tool_calls { name: "f" id: "MARK" } })")},
      {"messages.tool_calls.name", absl::StrCat("messages { ", user, R"(tool_calls { name: "MARK" } })")},
      {"messages.tool_calls.arguments",
       absl::StrCat("messages { ", user, R"(tool_calls { name: "f" arguments: "{\"MARK\": 1}" } })")},
      {"tools", one + R"(tools: "[{\"function\": {\"name\": \"MARK\"}}]")"},
      {"chat_template_kwargs", one + R"(chat_template_kwargs: "{\"MARK\": 1}")"},
      {"add_generation_prompt", R"(messages { role: "user" content: "MARK" } add_generation_prompt: false)"},
  };
  std::set<std::string> leaves, names;
  Leaves(*v1::ChatInput::descriptor(), "", &leaves);
  for (const auto& [leaf, text] : rows) {
    names.insert(leaf);
    const absl::StatusOr<request::Request> request = Validate(Parse(text), TestLimits(), Encode, Show);
    ASSERT_TRUE(request.ok()) << leaf << ": " << request.status();
    EXPECT_TRUE(absl::StrContains(Text(request->prompt_ids), "MARK")) << leaf;
    EXPECT_EQ(Text(request->prompt_ids).back(), leaf == "add_generation_prompt" ? '.' : '>') << leaf;
  }
  EXPECT_EQ(names, leaves);
}

TEST(ValidateChatTest, TheFormatDecidesOnSpecialTokensAndStops) {
  const RenderChat render = [](const chat::ChatRequest&) -> absl::StatusOr<ChatPrompt> {
    return ChatPrompt{"hi", true, {"<end>", "\nUser:"}};
  };
  v1::GenerateRequest message = Parse(R"(messages { role: "user" content: "x" })");
  message.mutable_sampling_params()->add_stop("mine");
  absl::StatusOr<request::Request> request = Validate(message, TestLimits(), Encode, render);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->prompt_ids, (std::vector<int32_t>{900, 'h', 'i'}));
  EXPECT_EQ(request->params.stop_token_ids, std::vector<int32_t>{901});
  EXPECT_EQ(request->params.stop, (std::vector<std::string>{"mine", "\nUser:"}));
  message.mutable_sampling_params()->clear_stop();
  message.mutable_sampling_params()->set_detokenize(false);
  request = Validate(message, TestLimits(), Encode, render);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->params.stop_token_ids, std::vector<int32_t>{901});
  EXPECT_TRUE(request->params.stop.empty()) << "there is no text to find it in";
}

void ExpectRefused(const v1::GenerateRequest& message, const std::string& field, const std::string& words) {
  const absl::Status status = Validate(message, TestLimits(), Encode, Show).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << field << ": " << status;
  EXPECT_EQ(ErrorField(status), field) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), words)) << status;
}

std::string Message(const std::string& more) {
  return absl::StrCat(R"(messages { role: "user" content: "x" } messages { )", more, " }");
}

std::string Quoted(const std::string& json) {
  std::string out = "\"";
  for (const char c : json) absl::StrAppend(&out, c == '"' || c == '\\' ? "\\" : "", std::string(1, c));
  return out + "\"";
}

TEST(ValidateChatTest, EveryLimitIsNamed) {
  const std::string x257(257, 'x'), one = R"(messages { role: "user" content: "x" } )";
  ExpectRefused(Parse(""), "chat.messages", "1 to 4096 messages, got 0");
  v1::GenerateRequest many;
  for (int i = 0; i <= kChatMessagesMax; ++i) many.mutable_chat()->add_messages()->set_role("user");
  ExpectRefused(many, "chat.messages", "got 4097");
  ExpectRefused(Parse(Message(R"(content: "x")")), "chat.messages[1].role", "1 to 64 bytes, got 0");
  ExpectRefused(Parse(Message(R"(role: "a b" content: "x")")), "chat.messages[1].role", "[A-Za-z0-9_-]");
  ExpectRefused(Parse(Message(absl::StrCat("role: \"", x257, "\""))), "chat.messages[1].role", "got 257");
  ExpectRefused(Parse(Message(R"(role: "user")")), "chat.messages[1].content", "is required");
  ExpectRefused(Parse(Message(absl::StrCat(R"(role: "user" content: "" name: ")", x257, "\""))),
                "chat.messages[1].name", "at most 256 bytes, got 257");
  ExpectRefused(Parse(Message(absl::StrCat(R"(role: "tool" content: "" tool_call_id: ")", x257, "\""))),
                "chat.messages[1].tool_call_id", "got 257");
  const std::string call = "role: \"assistant\" tool_calls ";
  ExpectRefused(Parse(Message(call + "{ }")), "chat.messages[1].tool_calls[0].name", "is required");
  ExpectRefused(Parse(Message(call + R"({ name: "f" arguments: "[1]" })")), "chat.messages[1].tool_calls[0].arguments",
                "must be a JSON object, got a list");
  ExpectRefused(Parse(Message(call + R"({ name: "f" arguments: "{" })")), "chat.messages[1].tool_calls[0].arguments",
                "not valid JSON");
  std::string calls = "role: \"assistant\" ";
  for (int i = 0; i <= kChatToolCallsMax; ++i) absl::StrAppend(&calls, "tool_calls { name: \"f\" } ");
  ExpectRefused(Parse(Message(calls)), "chat.messages[1].tool_calls", "at most 128 calls, got 129");
  for (const char* tools :
       {"7", "{}", "[1]", "[{}]", R"([{"function": {}}])", R"([{"function": {"name": ""}}])", "["}) {
    const absl::Status status =
        Validate(Parse(absl::StrCat(one, "tools: ", Quoted(tools))), TestLimits(), Encode, Show).status();
    EXPECT_TRUE(absl::StartsWith(ErrorField(status), "chat.tools")) << tools << ": " << status;
  }
  ExpectRefused(Parse(absl::StrCat(one, "tools: \"[\\\"", std::string(kChatJsonBytesMax, 'x'), "\\\"]\"")),
                "chat.tools", "at most 1048576 bytes");
  ExpectRefused(Parse(one + R"(chat_template_kwargs: "[]")"), "chat.chat_template_kwargs", "must be a JSON object");
  for (const char* name : {"chat_template", "messages", "bos_token", "tools"}) {
    ExpectRefused(Parse(absl::StrCat(one, "chat_template_kwargs: ", Quoted(absl::StrCat("{\"", name, "\": 1}")))),
                  "chat.chat_template_kwargs", absl::StrCat("cannot set '", name, "'"));
  }
  ExpectRefused(
      Parse(absl::StrCat(one, "chat_template_kwargs: ", Quoted(std::string(100, '[') + std::string(100, ']')))),
      "chat.chat_template_kwargs", "nested deeper");
}

TEST(ValidateChatTest, RefusalsOfTheFormatComeWithTheirField) {
  const v1::GenerateRequest message = Parse(R"(messages { role: "user" content: "x" })");
  const auto refuse = [&](const absl::Status& with) {
    return Validate(message, TestLimits(), Encode, [&](const chat::ChatRequest&) { return with; }).status();
  };
  absl::Status status = refuse(absl::InvalidArgumentError("line 3: take turns"));
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(ErrorField(status), "chat.messages");
  EXPECT_TRUE(absl::StrContains(status.message(), "take turns")) << status;
  status = refuse(absl::FailedPreconditionError("the model has no chat template"));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_EQ(ErrorField(status), "chat");
  status = refuse(absl::ResourceExhaustedError("too many steps"));
  EXPECT_EQ(ErrorField(status), "chat.messages");
  status = Validate(message, TestLimits(), nullptr).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  status = Validate(message, TestLimits(), Encode, [](const chat::ChatRequest&) { return ChatPrompt(); }).status();
  EXPECT_EQ(ErrorField(status), "chat.messages") << "an empty prompt";
}

TEST(ValidateChatTest, ALongConversationIsTruncatedOrRefusedAsAnyPrompt) {
  v1::GenerateRequest message =
      Parse(absl::StrCat(R"(messages { role: "user" content: ")", std::string(300, 'x'), "\" }"));
  ExpectRefused(message, "chat.messages", "leaves no room for output");
  message.mutable_sampling_params()->set_truncate_prompt_tokens(4);
  const absl::StatusOr<request::Request> request = Validate(message, TestLimits(), Encode, Show);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Text(request->prompt_ids), "xx;>");
}

}  // namespace
}  // namespace quire::frontend
