#include "coordinator/openai/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace quire::openai {
namespace {

using nlohmann::json;

const AnswerInfo kInfo = {"r1", "demo", 1234};

// The events of a stream's bytes; [DONE] as the text it is. Fails where they are not whole.
std::vector<json> Events(const std::string& bytes) {
  std::vector<json> events;
  EXPECT_TRUE(bytes.empty() || absl::EndsWith(bytes, "\n\n")) << bytes;
  for (const absl::string_view event : absl::StrSplit(bytes, "\n\n", absl::SkipEmpty())) {
    EXPECT_TRUE(absl::StartsWith(event, "data: ")) << event;
    const std::string data(event.substr(6));
    EXPECT_EQ(data.find('\n'), std::string::npos);
    events.push_back(data == "[DONE]" ? json(data) : json::parse(data));
  }
  return events;
}

v1::GenerateResponse Chunk(uint32_t index, const std::string& text, uint32_t completion_tokens = 1) {
  v1::GenerateResponse response;
  v1::GenerateResponse::Chunk* chunk = response.mutable_chunk();
  chunk->set_index(index);
  chunk->set_text(text);
  chunk->set_prompt_tokens(5);
  chunk->set_cached_tokens(4);
  chunk->set_completion_tokens(completion_tokens);
  return response;
}

v1::GenerateResponse Complete(uint32_t index, const std::string& text, const std::string& reason = "stop",
                              uint32_t completion_tokens = 3) {
  v1::GenerateResponse response;
  v1::GenerateResponse::Complete* complete = response.mutable_complete();
  complete->set_index(index);
  complete->set_text(text);
  complete->set_finish_reason(reason);
  complete->set_prompt_tokens(5);
  complete->set_cached_tokens(4);
  complete->set_completion_tokens(completion_tokens);
  return response;
}

void SetToken(uint32_t id, const std::string& text, float logprob, v1::TokenLogprob* out) {
  out->set_token_id(id);
  out->set_token(text);
  out->set_logprob(logprob);
}

template <typename Logprobs>
v1::PositionLogprobs* AddPosition(uint32_t id, const std::string& text, float logprob, Logprobs* out) {
  v1::PositionLogprobs* position = out->add_positions();
  SetToken(id, text, logprob, position->mutable_sampled());
  return position;
}

AnswerOptions Options(Endpoint endpoint, bool stream) {
  AnswerOptions options;
  options.endpoint = endpoint;
  options.stream = stream;
  return options;
}

TEST(AnswerTest, ChatStream) {
  Answer answer(Options(Endpoint::kChat, true), kInfo);
  const std::vector<json> first = Events(answer.Add(0, Chunk(0, "Hel")));
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0], json::parse(R"({"id":"chatcmpl-r1","object":"chat.completion.chunk","created":1234,"model":"demo",
      "choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]})"));
  EXPECT_EQ(first[1]["choices"][0]["delta"], json::parse(R"({"content":"Hel"})"));
  EXPECT_TRUE(Events(answer.Add(0, Chunk(0, ""))).empty());
  const std::vector<json> last = Events(answer.Add(0, Complete(0, "lo\n\"")));
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0]["choices"][0]["delta"]["content"], "lo\n\"");
  EXPECT_EQ(last[1]["choices"][0],
            json::parse(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop","stop_reason":null})"));
  EXPECT_EQ(answer.Finish(), "data: [DONE]\n\n");
}

TEST(AnswerTest, AChoiceWithoutATokenHasARoleToo) {
  Answer answer(Options(Endpoint::kChat, true), kInfo);
  const std::vector<json> events = Events(answer.Add(0, Complete(0, "", "abort", 0)));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events[1]["choices"][0]["finish_reason"], "abort");
}

TEST(AnswerTest, UsageComesLastAndWithoutChoices) {
  AnswerOptions options = Options(Endpoint::kCompletion, true);
  options.include_usage = true;
  options.num_prompts = 2;
  options.n = 2;
  Answer answer(options, kInfo);
  const std::vector<json> chunk = Events(answer.Add(1, Chunk(0, "a")));
  ASSERT_EQ(chunk.size(), 1u);
  EXPECT_EQ(chunk[0], json::parse(R"({"id":"cmpl-r1","object":"text_completion","created":1234,"model":"demo",
      "choices":[{"index":2,"text":"a","logprobs":null,"finish_reason":null}],"usage":null})"));
  for (const size_t prompt : {0, 1}) {
    for (const uint32_t index : {0, 1}) answer.Add(prompt, Complete(index, "", "length", 7));
  }
  const std::vector<json> last = Events(answer.Finish());
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0]["choices"], json::array());
  EXPECT_EQ(last[0]["usage"], json::parse(R"({"prompt_tokens":10,"completion_tokens":28,"total_tokens":38,
      "prompt_tokens_details":{"cached_tokens":8}})"));
  EXPECT_EQ(last[1], "[DONE]");
}

TEST(AnswerTest, UsageInEveryChunkOnDemand) {
  AnswerOptions options = Options(Endpoint::kCompletion, true);
  options.include_usage = options.continuous_usage_stats = true;
  Answer answer(options, kInfo);
  EXPECT_EQ(Events(answer.Add(0, Chunk(0, "a", 2)))[0]["usage"]["completion_tokens"], 2);
  EXPECT_EQ(Events(answer.Add(0, Complete(0, "b")))[0]["usage"]["total_tokens"], 8);
}

TEST(AnswerTest, ChatBody) {
  AnswerOptions options = Options(Endpoint::kChat, false);
  options.n = 2;
  options.stop_token_ids = {9};
  Answer answer(options, kInfo);
  v1::GenerateResponse stopped = Complete(0, "Hi");
  stopped.mutable_complete()->set_matched_stop_token_id(9);
  EXPECT_EQ(answer.Add(0, stopped), "");
  v1::GenerateResponse ended = Complete(1, "", "stop");
  ended.mutable_complete()->set_matched_stop_token_id(2);  // the model's own end is no stop_reason
  EXPECT_EQ(answer.Add(0, ended), "");
  EXPECT_EQ(json::parse(answer.Finish()), json::parse(R"({"id":"chatcmpl-r1","object":"chat.completion","created":1234,
      "model":"demo","choices":[
        {"index":0,"message":{"role":"assistant","content":"Hi","refusal":null},"logprobs":null,"finish_reason":"stop",
         "stop_reason":9},
        {"index":1,"message":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":"stop",
         "stop_reason":null}],
      "usage":{"prompt_tokens":5,"completion_tokens":6,"total_tokens":11,
               "prompt_tokens_details":{"cached_tokens":4}}})"));
}

TEST(AnswerTest, CompletionBodyOfABatch) {
  AnswerOptions options = Options(Endpoint::kCompletion, false);
  options.num_prompts = 2;
  Answer answer(options, kInfo);
  v1::GenerateResponse stopped = Complete(0, "b");
  stopped.mutable_complete()->set_matched_stop_str("\n\n");
  answer.Add(1, stopped);  // in any order
  answer.Add(0, Complete(0, "a", "length"));
  const json body = json::parse(answer.Finish());
  EXPECT_EQ(body["object"], "text_completion");
  EXPECT_EQ(body["choices"][0], json::parse(R"({"index":0,"text":"a","logprobs":null,"finish_reason":"length",
                                                "stop_reason":null})"));
  EXPECT_EQ(body["choices"][1]["index"], 1);
  EXPECT_EQ(body["choices"][1]["stop_reason"], "\n\n");
}

TEST(AnswerTest, ChatLogprobs) {
  AnswerOptions options = Options(Endpoint::kChat, true);
  options.logprobs = true;
  Answer answer(options, kInfo);
  v1::GenerateResponse chunk = Chunk(0, "");
  v1::PositionLogprobs* position = AddPosition(7, "é", -0.5f, chunk.mutable_chunk()->mutable_output_logprobs());
  SetToken(8, "\xEF\xBF\xBD", -INFINITY, position->add_top());
  const std::vector<json> events = Events(answer.Add(0, chunk));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1]["choices"][0], json::parse(R"({"index":0,"delta":{},"finish_reason":null,"logprobs":{"content":[
      {"token":"é","logprob":-0.5,"bytes":[195,169],"top_logprobs":[
        {"token":"\ufffd","logprob":-9999,"bytes":null}]}]}})"));
}

TEST(AnswerTest, CompletionLogprobsWithEcho) {
  AnswerOptions options = Options(Endpoint::kCompletion, true);
  options.logprobs = options.echo = true;
  Answer answer(options, kInfo);
  v1::GenerateResponse chunk = Chunk(0, "Ünd so");
  v1::InputLogprobs* prompt = chunk.mutable_chunk()->mutable_input_logprobs();
  AddPosition(1, "Ü", 0, prompt)->mutable_sampled()->clear_logprob();
  SetToken(3, "d", -0.25f, AddPosition(2, "nd", -2, prompt)->add_top());
  v1::OutputLogprobs* output = chunk.mutable_chunk()->mutable_output_logprobs();
  SetToken(4, " so", -1, AddPosition(4, " so", -1, output)->add_top());
  const json first = Events(answer.Add(0, chunk))[0]["choices"][0];
  EXPECT_EQ(first["text"], "Ünd so");
  EXPECT_EQ(first["logprobs"], json::parse(R"({"text_offset":[0,1,3],"token_logprobs":[null,-2,-1],
      "tokens":["Ü","nd"," so"],"top_logprobs":[null,{"d":-0.25,"nd":-2},{" so":-1}]})"));
  chunk = Chunk(0, " on");
  AddPosition(5, " on", -3, chunk.mutable_chunk()->mutable_output_logprobs());
  const json second = Events(answer.Add(0, chunk))[0]["choices"][0];
  EXPECT_EQ(second["logprobs"]["text_offset"], json::parse("[6]"));
  EXPECT_EQ(second["logprobs"]["tokens"], json::parse(R"([" on"])"));
}

TEST(AnswerTest, TokensAsIdsAndPromptLogprobs) {
  AnswerOptions options = Options(Endpoint::kCompletion, false);
  options.logprobs = options.prompt_logprobs = options.tokens_as_token_ids = true;
  Answer answer(options, kInfo);
  v1::GenerateResponse complete = Complete(0, "x");
  AddPosition(7, "x", -1, complete.mutable_complete()->mutable_output_logprobs());
  v1::InputLogprobs* prompt = complete.mutable_complete()->mutable_input_logprobs();
  AddPosition(1, "a", 0, prompt)->mutable_sampled()->clear_logprob();
  SetToken(3, "c", -0.25f, AddPosition(2, "b", -2, prompt)->add_top());
  answer.Add(0, complete);
  const json choice = json::parse(answer.Finish())["choices"][0];
  EXPECT_EQ(choice["logprobs"]["tokens"], json::parse(R"(["token_id:7"])"));
  EXPECT_EQ(choice["prompt_logprobs"], json::parse(R"([null,{"2":{"logprob":-2,"rank":null,"decoded_token":"b"},
                                                         "3":{"logprob":-0.25,"rank":1,"decoded_token":"c"}}])"));
}

TEST(AnswerTest, ToolCallsOfAStream) {
  AnswerOptions options = Options(Endpoint::kChat, true);
  options.tool_output = ToolOutput::kTagged;
  Answer answer(options, kInfo);
  EXPECT_EQ(Events(answer.Add(0, Chunk(0, "Well. <tool")))[1]["choices"][0]["delta"]["content"], "Well.");
  EXPECT_EQ(answer.Add(0, Chunk(0, "_call>{\"name\": \"f\", \"argum")), "");
  const std::vector<json> events = Events(answer.Add(0, Chunk(0, "ents\": {\"b\": 1, \"a\": 2}}</tool_call>")));
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], json::parse(R"({"tool_calls":[{"index":0,"id":"call_r1-0-0",
      "type":"function","function":{"name":"f","arguments":"{\"b\":1,\"a\":2}"}}]})"));
  const std::vector<json> last = Events(answer.Add(0, Complete(0, "\n")));
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0]["choices"][0]["finish_reason"], "tool_calls");
}

TEST(AnswerTest, ToolCallsOfABody) {
  AnswerOptions options = Options(Endpoint::kChat, false);
  options.tool_output = ToolOutput::kTagged;
  const std::string text = R"(<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "g"}</tool_call>)";
  Answer both(options, kInfo);
  both.Add(0, Complete(0, text));
  const json choice = json::parse(both.Finish())["choices"][0];
  EXPECT_EQ(choice["message"], json::parse(R"({"role":"assistant","content":null,"refusal":null,"tool_calls":[
      {"id":"call_r1-0-0","type":"function","function":{"name":"f","arguments":"{}"}},
      {"id":"call_r1-0-1","type":"function","function":{"name":"g","arguments":"{}"}}]})"));
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  options.parallel_tool_calls = false;
  Answer one(options, kInfo);
  one.Add(0, Complete(0, text));
  EXPECT_EQ(json::parse(one.Finish())["choices"][0]["message"]["tool_calls"].size(), 1u);
  options.tool_output = ToolOutput::kNone;
  Answer none(options, kInfo);
  none.Add(0, Complete(0, text));
  EXPECT_EQ(json::parse(none.Finish())["choices"][0]["message"]["content"], text);
}

TEST(AnswerTest, ArgumentsOfTheToolThatWasAskedFor) {
  AnswerOptions options = Options(Endpoint::kChat, true);
  options.tool_output = ToolOutput::kArguments;
  options.tool_name = "f";
  Answer stream(options, kInfo);
  const std::vector<json> first = Events(stream.Add(0, Chunk(0, "{\"a\":")));
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[1]["choices"][0]["delta"], json::parse(R"({"tool_calls":[{"index":0,"id":"call_r1-0-0",
      "type":"function","function":{"name":"f","arguments":"{\"a\":"}}]})"));
  const std::vector<json> last = Events(stream.Add(0, Complete(0, "1}")));
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[0]["choices"][0]["delta"],
            json::parse(R"({"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]})"));
  EXPECT_EQ(last[1]["choices"][0]["finish_reason"], "stop");
  options.stream = false;
  Answer body(options, kInfo);
  body.Add(0, Complete(0, "{}", "length"));
  EXPECT_EQ(json::parse(body.Finish())["choices"][0]["message"], json::parse(R"({"role":"assistant","content":null,
      "refusal":null,"tool_calls":[{"id":"call_r1-0-0","type":"function","function":{"name":"f","arguments":"{}"}}]})"));
}

}  // namespace
}  // namespace quire::openai
