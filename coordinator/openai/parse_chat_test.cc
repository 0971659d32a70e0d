#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/text_calls.h"

namespace quire::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string With(const std::string& field) {
  return absl::StrCat(R"({"model": "m", "messages": [{"role": "user", "content": "Hi"}], )", field, "}");
}

TEST(ParseChatTest, MessagesOfEveryKind) {
  const auto call = ParseChatCompletion(R"({"messages": [
      {"role": "system", "content": "Be kind."},
      {"role": "user", "name": "ann", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
      {"role": "assistant", "content": null, "refusal": null, "reasoning": "hm", "tool_calls":
        [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"b\": 1, \"a\": 2}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "3"}], "max_completion_tokens": 9, "max_tokens": 3})");
  ASSERT_TRUE(call.ok()) << call.status();
  const v1::ChatInput& chat = call->requests[0].chat();
  ASSERT_EQ(chat.messages_size(), 4);
  EXPECT_EQ(chat.messages(0).role(), "system");
  EXPECT_EQ(chat.messages(1).content(), "one\ntwo");
  EXPECT_EQ(chat.messages(1).name(), "ann");
  EXPECT_FALSE(chat.messages(2).has_content());
  EXPECT_EQ(chat.messages(2).reasoning_content(), "hm");
  EXPECT_EQ(chat.messages(2).tool_calls(0).id(), "c1");
  EXPECT_EQ(chat.messages(2).tool_calls(0).name(), "f");
  EXPECT_EQ(chat.messages(2).tool_calls(0).arguments(), R"({"b": 1, "a": 2})");
  EXPECT_EQ(chat.messages(3).tool_call_id(), "c1");
  EXPECT_EQ(call->requests[0].sampling_params().max_tokens(), 9u);
  EXPECT_EQ(call->answer.endpoint, Endpoint::kChat);
  EXPECT_EQ(call->answer.tool_output, ToolOutput::kNone);
}

TEST(ParseChatTest, NoLimitOfTokensUnlessAskedFor) {
  const auto call = ParseChatCompletion(With(R"("n": 1)"));
  EXPECT_FALSE(call->requests[0].sampling_params().has_max_tokens());
}

TEST(ParseChatTest, Logprobs) {
  const auto top = ParseChatCompletion(With(R"("logprobs": true, "top_logprobs": 3)"));
  EXPECT_EQ(top->requests[0].sampling_params().logprobs(), 3);
  EXPECT_TRUE(top->answer.logprobs);
  EXPECT_EQ(ParseChatCompletion(With(R"("logprobs": true)"))->requests[0].sampling_params().logprobs(), 0);
  const auto none = ParseChatCompletion(With(R"("logprobs": false, "top_logprobs": 0)"));
  EXPECT_FALSE(none->requests[0].sampling_params().has_logprobs());
}

TEST(ParseChatTest, ToolsKeepTheOrderOfTheirMembers) {
  const std::string tools =
      R"([{"type":"function","function":{"name":"f","description":"ä","parameters":{"z":1,"a":{"y":2.5,"b":[]}}}}])";
  const auto call = ParseChatCompletion(With(absl::StrCat(R"("tool_choice": "auto", "tools": )", tools)));
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->requests[0].chat().tools(), tools);
  EXPECT_EQ(call->answer.tool_output, ToolOutput::kTagged);
  EXPECT_TRUE(call->answer.parallel_tool_calls);
  const auto silent = ParseChatCompletion(With(absl::StrCat(R"("tool_choice": "none", "tools": )", tools)));
  EXPECT_EQ(silent->requests[0].chat().tools(), tools);
  EXPECT_EQ(silent->answer.tool_output, ToolOutput::kNone);
  const auto one = ParseChatCompletion(With(absl::StrCat(R"("parallel_tool_calls": false, "tools": )", tools)));
  EXPECT_FALSE(one->answer.parallel_tool_calls);
  EXPECT_FALSE(ParseChatCompletion(With(R"("tools": [])"))->requests[0].chat().has_tools());
}

TEST(ParseChatTest, VariablesOfTheTemplate) {
  const auto call = ParseChatCompletion(With(R"("chat_template_kwargs": {"enable_thinking": false, "documents": 1},
      "documents": [{"title": "t"}], "reasoning_effort": "low", "add_generation_prompt": false)"));
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->requests[0].chat().chat_template_kwargs(),
            R"({"enable_thinking":false,"documents":[{"title":"t"}],"reasoning_effort":"low"})");
  EXPECT_FALSE(call->requests[0].chat().add_generation_prompt());
}

struct Refused {
  const char* field;
  const char* param;
  const char* message;
};

class RefusedTest : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedTest, ByName) {
  const auto call = ParseChatCompletion(With(GetParam().field));
  ASSERT_FALSE(call.ok()) << GetParam().field;
  EXPECT_EQ(call.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(frontend::ErrorField(call.status()), GetParam().param);
  EXPECT_THAT(std::string(call.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedTest,
    ::testing::Values(Refused{R"("top_logprobs": 2)", "top_logprobs", "needs logprobs: true"},
                      Refused{R"("logprobs": 2)", "logprobs", "must be true or false"},
                      Refused{R"("functions": [])", "functions", "use tools"},
                      Refused{R"("function_call": "auto")", "function_call", "use tool_choice"},
                      Refused{R"("modalities": ["text", "audio"])", "modalities", "must be"},
                      Refused{R"("audio": {"voice": "a"})", "audio", "not served"},
                      Refused{R"("continue_final_message": true)", "continue_final_message", "not served yet"},
                      Refused{R"("echo": true)", "echo", "not served yet"},
                      Refused{R"("add_special_tokens": true)", "add_special_tokens", "must be false"},
                      Refused{R"("chat_template": "x")", "chat_template", "never taken from a client"},
                      Refused{R"("stream": true, "prompt_logprobs": 0)", "prompt_logprobs", "cannot be streamed"},
                      Refused{R"("tools": {})", "tools", "must be a list"},
                      Refused{R"("chat_template_kwargs": [])", "chat_template_kwargs", "must be an object"}));

TEST(ParseChatTest, BadMessages) {
  const auto param = [](const std::string& messages) {
    const absl::Status status = ParseChatCompletion(absl::StrCat(R"({"messages": )", messages, "}")).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << messages;
    return frontend::ErrorField(status);
  };
  EXPECT_EQ(param("null"), "messages");
  EXPECT_EQ(param("\"hi\""), "messages");
  EXPECT_EQ(param("[1]"), "messages[0]");
  EXPECT_EQ(param(R"([{"role": 1}])"), "messages[0].role");
  EXPECT_EQ(param(R"([{"content": 1}])"), "messages[0].content");
  EXPECT_EQ(param(R"([{"content": [1]}])"), "messages[0].content[0]");
  EXPECT_EQ(param(R"([{"content": [{"type": "image_url", "image_url": {"url": "u"}}]}])"),
            "messages[0].content[0].type");
  EXPECT_EQ(param(R"([{"content": [{"type": "text"}]}])"), "messages[0].content[0].text");
  EXPECT_EQ(param(R"([{"tool_calls": [{"id": "a"}]}])"), "messages[0].tool_calls[0].function");
  EXPECT_EQ(param(R"([{"tool_calls": [{"function": {"arguments": 1}}]}])"),
            "messages[0].tool_calls[0].function.arguments");
  EXPECT_EQ(param(R"([{"function_call": {}}])"), "messages[0].function_call");
  std::string many = "[{}";
  for (int i = 0; i < 4096; ++i) many += ",{}";
  EXPECT_EQ(param(many + "]"), "messages");
}

TEST(TextCallsTest, Tokenize) {
  const auto text = ParseTokenize(R"({"model": "m", "prompt": "a b", "add_special_tokens": false})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->model, "m");
  EXPECT_EQ(text->request.text(), "a b");
  EXPECT_TRUE(text->request.has_add_special_tokens() && !text->request.add_special_tokens());
  const auto chat =
      ParseTokenize(R"({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": false})");
  ASSERT_TRUE(chat.ok()) << chat.status();
  EXPECT_EQ(chat->chat->messages(0).content(), "x");
  EXPECT_FALSE(chat->chat->add_generation_prompt());
  const auto renamed = [](const ClientNames& names, const char* field) {
    const absl::Status status = frontend::FieldError(absl::StatusCode::kInvalidArgument, field, "is wrong.");
    return frontend::ErrorField(InClientNames(status, names, 0));
  };
  EXPECT_EQ(renamed(text->names, "text"), "prompt");
  EXPECT_EQ(renamed(chat->names, "chat.messages[0].role"), "messages[0].role");
  EXPECT_EQ(renamed(chat->names, "chat"), "messages");
  EXPECT_EQ(renamed(ParseDetokenize(R"({"tokens": [1]})")->names, "ids"), "tokens");
  EXPECT_EQ(frontend::ErrorField(ParseTokenize("{}").status()), "prompt");
  EXPECT_EQ(frontend::ErrorField(ParseTokenize(R"({"prompt": "a", "messages": []})").status()), "prompt");
  EXPECT_EQ(frontend::ErrorField(ParseTokenize(R"({"prompt": "a", "chat_template": "t"})").status()), "chat_template");
  EXPECT_EQ(TokenizeBody({1, 22}, 99), R"({"count":2,"max_model_len":99,"tokens":[1,22],"token_strs":null})");
}

TEST(TextCallsTest, Detokenize) {
  const auto call = ParseDetokenize(R"({"tokens": [5, 6]})");
  ASSERT_TRUE(call.ok());
  EXPECT_THAT(call->request.ids(), ElementsAre(5, 6));
  EXPECT_FALSE(call->request.skip_special_tokens());
  EXPECT_EQ(frontend::ErrorField(ParseDetokenize("{}").status()), "tokens");
  EXPECT_EQ(frontend::ErrorField(ParseDetokenize(R"({"tokens": ["a"]})").status()), "tokens[0]");
  EXPECT_EQ(DetokenizeBody("a\"\n"), R"({"prompt":"a\"\n"})");
}

TEST(TextCallsTest, Models) {
  v1::GetModelInfoResponse info;
  info.set_served_model_name("demo");
  info.set_max_context_length(128);
  EXPECT_EQ(ModelsBody(info, 7),
            R"({"object":"list","data":[{"id":"demo","object":"model","created":7,"owned_by":"quire","root":"demo",)"
            R"("parent":null,"max_model_len":128}]})");
}

}  // namespace
}  // namespace quire::openai
