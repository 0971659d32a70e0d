// Prompts of families that ship no template, down to the ids: built-in formats and tokenizers together, against what the
// models' own code builds with `sentencepiece` (tools/goldens/tokenizer/make_kind_goldens.py, chat_rows).
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/tokenizer.h"

namespace quire::chat {
namespace {

using nlohmann::json;

class ChatIdsTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ChatIdsTest, PromptsAreTheIdsThatTheModelsCodeBuilds) {
  const std::string dir = absl::StrCat("coordinator/text/testdata/kinds/", GetParam());
  const auto tokenizer = text::Tokenizer::Load(dir);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto format = ChatFormat::Load(dir);
  ASSERT_TRUE(format.ok()) << format.status();
  std::ifstream stream(dir + "/chat.jsonl");
  int num_conversations = 0;
  for (std::string line; std::getline(stream, line); ++num_conversations) {
    const json golden = json::parse(line);
    ChatRequest request;
    for (const json& message : golden.at("messages")) {
      request.messages.emplace_back();
      request.messages.back().role = message.at("role");
      request.messages.back().content = message.at("content").get<std::string>();
    }
    const auto prompt = (*format)->Prompt(request, {absl::UnixEpoch(), absl::UTCTimeZone()});
    ASSERT_TRUE(prompt.ok()) << prompt.status();
    std::vector<int32_t> ids;
    ASSERT_TRUE((*tokenizer)->Encode(*prompt, (*format)->add_special_tokens(), &ids).ok());
    EXPECT_EQ(ids, golden.at("ids").get<std::vector<int32_t>>()) << *prompt;
  }
  EXPECT_GE(num_conversations, 5);
  // What ends an answer is one token each where the family has tokens for it.
  for (const std::string& stop : (*format)->stops()) {
    std::vector<int32_t> ids;
    ASSERT_TRUE((*tokenizer)->Encode(stop, /*add_special_tokens=*/false, &ids).ok());
    EXPECT_LE(ids.size(), 2u) << stop;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ChatIdsTest, ::testing::Values("sp_chatglm2", "sp_chatglm3", "sp_internlm"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace quire::chat
