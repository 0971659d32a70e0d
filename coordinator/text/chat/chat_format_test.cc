// Which template a directory gives, what it is given, and the formats that are built in.
#include "coordinator/text/chat/chat_format.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/text/jinja/json_text.h"

namespace quire::chat {
namespace {

class ChatFormatTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = absl::StrCat(testing::TempDir(), "/chat_", testing::UnitTest::GetInstance()->current_test_info()->name());
    mkdir(dir_.c_str(), 0755);
    mkdir((dir_ + "/additional_chat_templates").c_str(), 0755);
  }
  void Write(const std::string& name, const std::string& text) { std::ofstream(dir_ + "/" + name) << text; }

  std::string dir_;
};

ChatMessage Say(const std::string& role, const std::string& content) {
  ChatMessage message;
  message.role = role;
  message.content = content;
  return message;
}

ChatRequest Ask(const std::string& question) {
  ChatRequest request;
  request.messages = {Say("user", question)};
  return request;
}

ChatRequest Turns() {
  ChatRequest request;
  request.messages = {Say("user", "Hi"), Say("assistant", "Hello"), Say("user", "Bye")};
  return request;
}

std::string Prompt(const absl::StatusOr<std::unique_ptr<const ChatFormat>>& format, const ChatRequest& request) {
  if (!format.ok()) return absl::StrCat("LOAD: ", format.status().ToString());
  const absl::StatusOr<std::string> text =
      (*format)->Prompt(request, {absl::UnixEpoch() + absl::Hours(24), absl::UTCTimeZone()});
  return text.ok() ? *text : absl::StrCat("PROMPT: ", text.status().ToString());
}

jinja::Value Tools() {
  return *jinja::ParseJson(R"([{"type": "function", "function": {"name": "f", "parameters": {}}}])");
}

TEST_F(ChatFormatTest, TheFileOfItsOwnWinsOverTheConfigAndThatOverTheProcessors) {
  Write("chat_template.json", R"({"chat_template": "processor"})");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")), "processor");
  Write("tokenizer_config.json", R"({"chat_template": "config", "model_max_length": 1000000000000000019884624838656})");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")), "config");
  Write("chat_template.jinja", "file\n");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")), "file");
  Write("operator.jinja", "operator {{ messages[0].content }}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_, dir_ + "/operator.jinja"), Ask("x")), "operator x");
  EXPECT_TRUE(absl::IsNotFound(ChatFormat::Load(dir_, dir_ + "/nothing.jinja").status()));
}

TEST_F(ChatFormatTest, ToolsChooseTheTemplateForThem) {
  ChatRequest with_tools = Ask("x");
  with_tools.tools = Tools();
  Write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools|length }} tools"}]})");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")), "plain");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), with_tools), "1 tools");
  with_tools.tools = jinja::Value::List({});
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), with_tools), "plain") << "no tools are none";
  with_tools.tools = Tools();
  Write("chat_template.jinja", "file {{ tools is none }}");
  Write("additional_chat_templates/tool_use.jinja", "more {{ tools[0].function.name }}");
  Write("additional_chat_templates/rag.jinja", "rag");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")), "file True");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), with_tools), "more f");
}

TEST_F(ChatFormatTest, ATemplateForOtherUsesOnlyRefusesTheRest) {
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "rag"}]})");
  const auto format = ChatFormat::Load(dir_);
  ASSERT_TRUE(format.ok()) << format.status();
  EXPECT_TRUE(
      absl::IsFailedPrecondition((*format)->Prompt(Ask("x"), {absl::UnixEpoch(), absl::UTCTimeZone()}).status()));
}

TEST_F(ChatFormatTest, TheTemplateSeesTokensMessagesAndVariables) {
  Write("tokenizer_config.json",
        R"({"bos_token": {"content": "<b>", "lstrip": false}, "eos_token": "<e>", "pad_token": null, "chat_template":
"{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}|{{ messages|tojson }}|{{ tools }}{{ documents }}|{{ add_generation_prompt }}|{{ thinking }}|{{ strftime_now('%F') }}"})");
  Write("special_tokens_map.json", R"({"unk_token": "<u>", "eos_token": "<not this>"})");
  ChatRequest request = Ask("é");
  ChatMessage answer;
  answer.role = "assistant";
  answer.reasoning_content = "hm";
  answer.tool_calls = {{"id1", "f", *jinja::ParseJson(R"({"z": 1, "a": [null]})")}};
  ChatMessage result = Say("tool", "7");
  result.name = "f";
  result.tool_call_id = "id1";
  request.messages.push_back(answer);
  request.messages.push_back(result);
  request.variables = *jinja::ParseJson(R"({"thinking": true})");
  request.add_generation_prompt = false;
  EXPECT_EQ(
      Prompt(ChatFormat::Load(dir_), request),
      R"(<b><e>False<u>|[{"role": "user", "content": "é"}, {"role": "assistant", "content": null, )"
      R"("tool_calls": [{"id": "id1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": [null]}}}], )"
      R"("reasoning_content": "hm", "thinking": "hm"}, )"
      R"({"role": "tool", "content": "7", "name": "f", "tool_call_id": "id1"}]|NoneNone|False|True|1970-01-02)");
  EXPECT_FALSE((*ChatFormat::Load(dir_))->add_special_tokens());
  EXPECT_TRUE((*ChatFormat::Load(dir_))->stops().empty());
}

TEST_F(ChatFormatTest, ArgumentsAreTextWhereTheTemplateAddsThemToText) {
  ChatRequest request = Ask("x");
  ChatMessage answer = Say("assistant", "");
  answer.tool_calls = {{"", "f", *jinja::ParseJson(R"({"a": 1})")}};
  request.messages.push_back(answer);
  const std::string loop = "{% for m in messages %}{% for c in m.tool_calls or [] %}";
  Write("chat_template.jinja", loop + "{{ '<' + c.function.arguments + '>' }}{% endfor %}{% endfor %}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), request), R"(<{"a": 1}>)");
  Write("chat_template.jinja", loop +
                                   "{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }}{% endfor %}"
                                   "{% endfor %}{% endfor %}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), request), "a=1");
  Write("chat_template.jinja", loop + "{{ c.function.arguments }}{% endfor %}{% endfor %}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), request), R"({"a": 1})");
  Write("chat_template.jinja", loop + "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), request), R"({"a": 1})");
}

TEST_F(ChatFormatTest, BrokenFilesAreErrorsWithTheirName) {
  Write("chat_template.jinja", "line\n{% if %}");
  EXPECT_NE(ChatFormat::Load(dir_).status().message().find("chat_template.jinja: line 2"), std::string::npos)
      << ChatFormat::Load(dir_).status();
  Write("chat_template.jinja", "x");
  Write("tokenizer_config.json", R"({"chat_template": 7})");
  EXPECT_NE(ChatFormat::Load(dir_).status().message().find("tokenizer_config.json"), std::string::npos);
  Write("tokenizer_config.json", "{");
  EXPECT_FALSE(ChatFormat::Load(dir_).ok());
}

TEST_F(ChatFormatTest, WhatATemplateRefusesIsToldInItsWords) {
  Write("chat_template.jinja", "{{ raise_exception('Turns must alternate') }}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")),
            "PROMPT: INVALID_ARGUMENT: the model's chat template stopped at line 1: Turns must alternate");
  Write("chat_template.jinja", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}");
  EXPECT_EQ(Prompt(ChatFormat::Load(dir_), Ask("x")).substr(0, 26), "PROMPT: RESOURCE_EXHAUSTED");
}

TEST_F(ChatFormatTest, FamiliesWithoutATemplateHaveOneBuiltIn) {
  const struct {
    const char* config;
    bool add_special_tokens;
    const char* stop;
    const char* prompt;
  } kCases[] = {
      {R"({"model_type": "qwen"})", false, "<|im_end|>",
       "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
       "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
      {R"({"model_type": "chatglm", "_name_or_path": "THUDM/chatglm2-6b"})", true, nullptr,
       "[Round 1]\n\n问：Hi\n\n答：Hello\n\n[Round 2]\n\n问：Bye\n\n答："},
      {R"({"model_type": "chatglm", "_name_or_path": "THUDM/chatglm3-6b"})", true, "<|user|>",
       "<|user|>\n Hi<|assistant|>\n Hello<|user|>\n Bye<|assistant|>"},
      {R"({"model_type": "baichuan", "vocab_size": 64000})", false, nullptr,
       "<reserved_102>Hi<reserved_103>Hello<reserved_102>Bye<reserved_103>"},
      {R"({"model_type": "baichuan", "vocab_size": 125696})", false, nullptr,
       "<reserved_106>Hi<reserved_107>Hello<reserved_106>Bye<reserved_107>"},
      {R"({"model_type": "aquila"})", false, "###",
       "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
       "detailed, "
       "and polite answers to the human's questions.###Human: Hi###Assistant: Hello###Human: Bye###Assistant:"},
      {R"({"model_type": "internlm"})", true, "<eoa>",
       "<|User|>:Hi<eoh>\n<|Bot|>:Hello<eoa>\n<|User|>:Bye<eoh>\n<|Bot|>:"},
      {R"({"model_type": "falcon"})", false, "\nUser:", "User: Hi\nAssistant: Hello\nUser: Bye\nAssistant:"},
      {R"({"model_type": "RefinedWeb"})", false, "\nUser:", "User: Hi\nAssistant: Hello\nUser: Bye\nAssistant:"},
      {R"({"model_type": "llama", "_name_or_path": "lmsys/Vicuna-7b-v1.5"})", true, nullptr,
       "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
       "and polite answers to the user's questions. USER: Hi ASSISTANT: Hello</s>USER: Bye ASSISTANT:"},
      {R"({"model_type": "llama", "_name_or_path": "koala-13b"})", true, nullptr,
       "BEGINNING OF CONVERSATION: USER: Hi GPT: Hello</s>USER: Bye GPT:"},
  };
  for (const auto& test : kCases) {
    Write("config.json", test.config);
    const auto format = ChatFormat::Load(dir_);
    EXPECT_EQ(Prompt(format, Turns()), test.prompt) << test.config;
    ASSERT_TRUE(format.ok());
    EXPECT_EQ((*format)->add_special_tokens(), test.add_special_tokens) << test.config;
    EXPECT_EQ((*format)->stops().empty(), test.stop == nullptr) << test.config;
    if (test.stop != nullptr) {
      EXPECT_EQ((*format)->stops()[0], test.stop);
    }
    ChatRequest with_system = Turns();
    with_system.messages.insert(with_system.messages.begin(), Say("system", "SYS"));
    EXPECT_NE(Prompt(format, with_system).find("SYS"), std::string::npos) << test.config;
    EXPECT_EQ(Prompt(format, with_system).substr(0, 6) == "PROMPT", false) << test.config;
  }
  Write("config.json", R"({"model_type": "llama"})");
  EXPECT_TRUE(absl::IsNotFound(ChatFormat::Load(dir_).status()));
}

TEST(ChatVariablesTest, WhatARequestMayNotSet) {
  for (const char* name : {"messages", "tools", "bos_token", "eos_token", "chat_template", "raise_exception"}) {
    EXPECT_TRUE(IsReservedVariable(name)) << name;
  }
  for (const char* name : {"enable_thinking", "reasoning_effort", "documents", "date_string"}) {
    EXPECT_FALSE(IsReservedVariable(name)) << name;
  }
}

}  // namespace
}  // namespace quire::chat
