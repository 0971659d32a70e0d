#include "coordinator/openai/tool_calls.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace quire::openai {
namespace {

// As one line: content, then [name arguments] of each call.
std::string Show(const ParsedText& parsed) {
  std::string out = parsed.content;
  for (const FoundCall& call : parsed.calls) out += "[" + call.name + " " + call.arguments + "]";
  return out;
}

std::string Whole(const std::string& text) {
  ToolCallParser parser;
  return Show(parser.Add(text, /*at_end=*/true));
}

// In pieces of `size`; the calls in the order in which they came.
std::string InPieces(const std::string& text, size_t size) {
  ToolCallParser parser;
  ParsedText all;
  for (size_t at = 0; at <= text.size(); at += size) {
    const bool last = at + size > text.size();
    const ParsedText parsed = parser.Add(text.substr(at, size), last);
    all.content += parsed.content;
    all.calls.insert(all.calls.end(), parsed.calls.begin(), parsed.calls.end());
  }
  return Show(all);
}

std::string Call(const std::string& json) { return "<tool_call>" + json + "</tool_call>"; }

TEST(ToolCallsTest, Calls) {
  EXPECT_EQ(Whole(Call(R"({"name": "f", "arguments": {"b": 1, "a": "x"}})")), R"([f {"b":1,"a":"x"}])");
  EXPECT_EQ(
      Whole("Let me see.\n" + Call("\n{\"name\": \"f\"}\n") + "\n" + Call(R"({"name": "g", "arguments": {}})") + "\n"),
      "Let me see.[f {}][g {}]");
  EXPECT_EQ(Whole(Call(R"({"name": "f", "arguments": {"a": "</tool_call>"}})")), R"([f {"a":"</tool_call>"}])");
  EXPECT_EQ(Whole(Call(R"({"name": "f"})") + " done"), " done[f {}]");
}

TEST(ToolCallsTest, WhatIsNoCallIsContent) {
  for (const std::string& text : std::vector<std::string>{
           "", "hi ", " \n", "a < b", "<tool_call", "x <tool_call>", "<tool_call>{\"name\": \"f\"", Call("nonsense"),
           Call("{}"), Call("[1]"), Call(R"({"name": 1})"), Call(R"({"name": ""})"),
           Call(R"({"name": "f", "arguments": "{}"})"), "</tool_call>", Call("{\"name\": \"f\", \"name\": \"g\"}")}) {
    EXPECT_EQ(Whole(text), text);
  }
  EXPECT_EQ(Whole(Call("x") + Call(R"({"name": "f"})")), Call("x") + "[f {}]");
  EXPECT_EQ(Whole("<tool_call> <tool_call>{\"name\": \"f\"}</tool_call>"), "<tool_call>[f {}]");
}

TEST(ToolCallsTest, NothingWaitsThatCannotBeATag) {
  ToolCallParser parser;
  EXPECT_EQ(parser.Add("one two", false).content, "one two");
  EXPECT_EQ(parser.Add(" <tool", false).content, "");
  EXPECT_EQ(parser.Add("s>", false).content, " <tools>");
}

TEST(ToolCallsTest, ACallHasABound) {
  const std::string fits = R"({"name": "f", "arguments": {"a": ")" + std::string(kToolCallBytesMax - 40, 'x') + "\"}}";
  ASSERT_LE(fits.size(), kToolCallBytesMax);
  EXPECT_EQ(Whole(Call(fits)).substr(0, 3), "[f ");
  const std::string big = Call(R"({"name": "f", "arguments": {"a": ")" + std::string(kToolCallBytesMax, 'x') + "\"}}");
  EXPECT_EQ(Whole(big), big);
  EXPECT_EQ(InPieces(big, 1000), big);
  ToolCallParser parser;
  std::string out = parser.Add("<tool_call>", false).content;
  for (int i = 0; i < 100; ++i) out += parser.Add(std::string(1000, 'y'), false).content;
  EXPECT_GE(out.size(), 100'000 - kToolCallBytesMax);
  const std::string blanks(kToolCallBytesMax + 100, ' ');
  EXPECT_EQ(Whole(blanks + Call(R"({"name": "f"})")), std::string(100, ' ') + "[f {}]");
  EXPECT_EQ(InPieces(blanks + Call(R"({"name": "f"})"), 777), std::string(100, ' ') + "[f {}]");
  std::string many;
  for (size_t i = 0; i < kToolCallsMax; ++i) many += Call(R"({"name": "f"})");
  ToolCallParser full;
  EXPECT_EQ(full.Add(many + Call(R"({"name": "g"})"), true).content, Call(R"({"name": "g"})"));
}

TEST(ToolCallsTest, AListIsAllOrNothing) {
  const auto list = [](const std::string& text, size_t size) {
    ToolCallParser parser(ToolOutput::kList);
    std::string out;
    for (size_t at = 0; at <= text.size(); at += size)
      out += Show(parser.Add(text.substr(at, size), at + size > text.size()));
    return out;
  };
  for (const size_t size : {1, 5, 1000}) {
    EXPECT_EQ(list(R"([{"name": "f", "parameters": {"a": 1}}, {"name": "g"}])", size), R"([f {"a":1}][g {}])");
    for (const char* text : {"", "[]", "[1]", R"([{"name": "f", "parameters": {"a": 1)", "text", R"([],"x":[])"}) {
      EXPECT_EQ(list(text, size), text);
    }
  }
  const std::string big =
      "[{\"name\": \"f\", \"parameters\": {\"a\": \"" + std::string(kToolCallBytesMax, 'x') + "\"}}]";
  EXPECT_EQ(list(big, 1000), big);
  EXPECT_EQ(list(big, big.size() + 1), big);
}

TEST(ToolCallsTest, AllTheSameHoweverItIsCut) {
  const std::vector<std::string> parts = {Call(R"({"name": "g"})"),
                                          "<tool_call>",
                                          "</tool_call>",
                                          R"({"name": "f", "arguments": {"a": 1}})",
                                          " ",
                                          "\n",
                                          "text",
                                          "<",
                                          R"({"name": ")",
                                          "{}"};
  std::mt19937 random(7);
  int num_calls = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    const size_t size = random() % 12;
    for (size_t i = 0; i < size; ++i) text += parts[random() % parts.size()];
    const std::string whole = Whole(text);
    num_calls += static_cast<int>(std::count(whole.begin(), whole.end(), '['));
    for (const size_t piece : {1, 2, 5, 13}) ASSERT_EQ(InPieces(text, piece), whole) << text << " in " << piece;
  }
  EXPECT_GT(num_calls, 500);
}

}  // namespace
}  // namespace quire::openai
