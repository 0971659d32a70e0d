// Conversations through the real processes: the operator's template makes the prompt, on the wire and from the command line's client.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/e2e/cluster.h"

namespace quire::e2e {
namespace {

void Say(const std::string& role, const std::string& content, quire::v1::GenerateRequest* request) {
  quire::v1::ChatMessage* message = request->mutable_chat()->add_messages();
  message->set_role(role);
  message->set_content(content);
}

quire::v1::GenerateRequest Request() {
  quire::v1::GenerateRequest request;
  request.set_stream(false);
  request.set_echo(true);
  request.mutable_sampling_params()->set_temperature(0);
  request.mutable_sampling_params()->set_max_tokens(24);
  return request;
}

std::string WriteTemplate(const std::string& text) {
  const std::string path = TestDir("chat") + "/template.jinja";
  std::ofstream(path) << text;
  return path;
}

TEST(ChatTest, TheTemplateMakesThePromptAndNothingIsAddedToIt) {
  const std::string path = WriteTemplate(
      "{%- for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('no critics') }}{% endif %}"
      "{{ m.content | trim }} {% endfor %}{% if add_generation_prompt %}{{ opening or 'Once upon a time' }}{% endif "
      "%}");
  Cluster cluster({"--workers=local:1", absl::StrCat("--chat_template=", path)});

  quire::v1::GenerateRequest chat = Request();
  Say("system", "  A story. ", &chat);
  Say("user", "Tell it.", &chat);
  const Output told = cluster.Generate(chat);
  ASSERT_TRUE(told.ok()) << told.status.error_message();

  quire::v1::TokenizeRequest text;
  text.set_text("A story. Tell it. Once upon a time");
  text.set_add_special_tokens(false);
  quire::v1::TokenizeResponse ids;
  grpc::ClientContext context;
  ASSERT_TRUE(cluster.stub()->Tokenize(&context, text, &ids).ok());
  const auto& prompt = told.choices[0].prompt_token_ids();
  EXPECT_EQ(std::vector<uint32_t>(prompt.begin(), prompt.end()),
            std::vector<uint32_t>(ids.ids().begin(), ids.ids().end()));

  quire::v1::TokenizeRequest conversation;
  *conversation.mutable_chat() = chat.chat();
  quire::v1::TokenizeResponse rendered;
  grpc::ClientContext context2, context3;
  ASSERT_TRUE(cluster.stub()->Tokenize(&context2, conversation, &rendered).ok());
  EXPECT_EQ(rendered.text(), text.text());
  EXPECT_EQ(rendered.ids().size(), ids.ids().size());
  EXPECT_TRUE(std::equal(ids.ids().begin(), ids.ids().end(), rendered.ids().begin()));
  conversation.set_text("x");
  EXPECT_EQ(cluster.stub()->Tokenize(&context3, conversation, &rendered).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  quire::v1::GenerateRequest same = Request();
  same.mutable_tokenized()->mutable_input_ids()->CopyFrom(ids.ids());
  const Output from_ids = cluster.Generate(same);
  ASSERT_TRUE(from_ids.ok());
  const auto& a = told.choices[0].output_ids();
  const auto& b = from_ids.choices[0].output_ids();
  EXPECT_EQ(std::vector<uint32_t>(a.begin(), a.end()), std::vector<uint32_t>(b.begin(), b.end()));
  EXPECT_GT(a.size(), 0);

  chat.mutable_chat()->set_chat_template_kwargs(R"({"opening": "The little dog"})");
  const Output opened = cluster.Generate(chat);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ(opened.choices[0].text().rfind("A story. Tell it. The little dog", 0), 0u) << opened.choices[0].text();

  Say("critic", "Boo", &chat);
  const Output refused = cluster.Generate(chat);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_param, "chat.messages");
  EXPECT_NE(refused.status.error_message().find("no critics"), std::string::npos) << refused.status.error_message();
  EXPECT_TRUE(cluster.AwaitIdle(absl::Seconds(20)));
}

TEST(ChatTest, AModelWithoutATemplateRefusesConversations) {
  Cluster cluster({"--workers=local:1"});
  quire::v1::GenerateRequest chat = Request();
  Say("user", "Hi", &chat);
  const Output refused = cluster.Generate(chat);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(refused.error_param, "chat");
  EXPECT_NE(refused.status.error_message().find("--chat_template"), std::string::npos);
}

}  // namespace
}  // namespace quire::e2e
