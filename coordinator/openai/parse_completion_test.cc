#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/call.h"

namespace quire::openai {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A body with one field beside the prompt.
std::string With(const std::string& field) { return absl::StrCat(R"({"model": "m", "prompt": "Hi", )", field, "}"); }

TEST(ParseCompletionTest, ReadsEveryField) {
  const auto call = ParseCompletion(With(R"("stream": true, "stream_options": {"include_usage": true,
      "continuous_usage_stats": true, "include_obfuscation": false}, "max_tokens": 7, "n": 2, "best_of": 2,
      "temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "top_k": 3, "frequency_penalty": 1, "presence_penalty": -1,
      "repetition_penalty": 1.5, "stop": ["a", "b"], "stop_token_ids": [4, 5], "seed": -9, "logprobs": 3,
      "logit_bias": {"17": -100, "3": 2.5}, "min_tokens": 1, "ignore_eos": true, "skip_special_tokens": false,
      "spaces_between_special_tokens": false, "include_stop_str_in_output": true, "truncate_prompt_tokens": -1,
      "bad_words": ["no"], "allowed_token_ids": [1, 2], "priority": -2, "request_id": "r1", "shared_prefix_tokens": 16,
      "return_tokens_as_token_ids": true)"));
  ASSERT_TRUE(call.ok()) << call.status();
  ASSERT_EQ(call->requests.size(), 1u);
  const v1::GenerateRequest& request = call->requests[0];
  const v1::SamplingParams& params = request.sampling_params();
  EXPECT_EQ(request.text(), "Hi");
  EXPECT_EQ(request.model(), "m");
  EXPECT_EQ(request.request_id(), "r1");
  EXPECT_EQ(request.priority(), -2);
  EXPECT_EQ(request.shared_prefix_tokens(), 16u);
  EXPECT_TRUE(request.stream());
  EXPECT_EQ(params.max_tokens(), 7u);
  EXPECT_EQ(params.n(), 2u);
  EXPECT_EQ(params.best_of(), 2u);
  EXPECT_FLOAT_EQ(params.temperature(), 0.5f);
  EXPECT_FLOAT_EQ(params.top_p(), 0.25f);
  EXPECT_FLOAT_EQ(params.min_p(), 0.125f);
  EXPECT_EQ(params.top_k(), 3u);
  EXPECT_FLOAT_EQ(params.frequency_penalty(), 1);
  EXPECT_FLOAT_EQ(params.presence_penalty(), -1);
  EXPECT_FLOAT_EQ(params.repetition_penalty(), 1.5f);
  EXPECT_THAT(params.stop(), ElementsAre("a", "b"));
  EXPECT_THAT(params.stop_token_ids(), ElementsAre(4, 5));
  EXPECT_EQ(params.seed(), -9);
  EXPECT_EQ(params.logprobs(), 3);
  EXPECT_FALSE(params.has_prompt_logprobs());
  EXPECT_EQ(params.logit_bias().size(), 2u);
  EXPECT_FLOAT_EQ(params.logit_bias().at(3), 2.5f);
  EXPECT_EQ(params.min_tokens(), 1u);
  EXPECT_TRUE(params.ignore_eos());
  EXPECT_FALSE(params.skip_special_tokens());
  EXPECT_FALSE(params.spaces_between_special_tokens());
  EXPECT_TRUE(params.include_stop_str_in_output());
  EXPECT_EQ(params.truncate_prompt_tokens(), -1);
  EXPECT_THAT(params.bad_words(), ElementsAre("no"));
  EXPECT_THAT(params.allowed_token_ids(), ElementsAre(1, 2));
  EXPECT_TRUE(call->answer.stream && call->answer.include_usage && call->answer.continuous_usage_stats);
  EXPECT_TRUE(call->answer.logprobs && call->answer.tokens_as_token_ids);
  EXPECT_EQ(call->answer.n, 2u);
  EXPECT_THAT(call->answer.stop_token_ids, ElementsAre(4, 5));
  EXPECT_EQ(call->num_unknown_fields, 0u);
}

TEST(ParseCompletionTest, WhatIsAbsentOrNullStaysUnset) {
  const auto call = ParseCompletion(With(R"("n": null, "stop": null, "temperature": null, "logit_bias": null,
      "stream": null, "stream_options": null, "logprobs": null, "suffix": null, "response_format": null, "top_k": null)"));
  ASSERT_TRUE(call.ok()) << call.status();
  v1::GenerateRequest expected;
  expected.set_model("m");
  expected.set_text("Hi");
  expected.mutable_sampling_params()->set_max_tokens(16);  // OpenAI's default here
  EXPECT_EQ(call->requests[0].SerializeAsString(), expected.SerializeAsString());
}

TEST(ParseCompletionTest, BeamSearch) {
  const auto call = ParseCompletion(With(R"("use_beam_search": true, "n": 2, "beam_width": 4, "length_penalty": 0.5,
                                            "early_stopping": true)"));
  ASSERT_TRUE(call.ok()) << call.status();
  const v1::SamplingParams& params = call->requests[0].sampling_params();
  EXPECT_TRUE(params.use_beam_search());
  EXPECT_EQ(params.beam_width(), 4u);
  EXPECT_FLOAT_EQ(params.length_penalty(), 0.5f);
  EXPECT_EQ(params.early_stopping(), "true");
  EXPECT_EQ(ParseCompletion(With(R"("early_stopping": "never")"))->requests[0].sampling_params().early_stopping(),
            "never");
}

TEST(ParseCompletionTest, OddValuesThatClientsSend) {
  EXPECT_EQ(ParseCompletion(With(R"("top_k": -1)"))->requests[0].sampling_params().top_k(), 0u);
  EXPECT_EQ(ParseCompletion(With(R"("max_tokens": 5.0)"))->requests[0].sampling_params().max_tokens(), 5u);
  EXPECT_THAT(ParseCompletion(With(R"("stop": "x")"))->requests[0].sampling_params().stop(), ElementsAre("x"));
  EXPECT_TRUE(std::isinf(ParseCompletion(With(R"("top_p": 1e300)"))->requests[0].sampling_params().top_p()));
  EXPECT_TRUE(ParseCompletion(With(R"("suffix": "", "response_format": {"type": "text"}, "user": "u", "store": true,
      "metadata": {"a": "b"}, "service_tier": "auto", "guided_json": null, "add_special_tokens": true)"))
                  .ok());
  const auto unknown = ParseCompletion(With(R"("frobnicate": 1, "x": {"y": 2})"));
  ASSERT_TRUE(unknown.ok());
  EXPECT_EQ(unknown->num_unknown_fields, 2u);
}

TEST(ParseCompletionTest, EveryFormOfPrompt) {
  const auto text = ParseCompletion(R"({"prompt": "a"})");
  EXPECT_EQ(text->requests[0].text(), "a");
  EXPECT_FALSE(text->names.batch);
  EXPECT_FALSE(text->requests[0].has_model());
  const auto ids = ParseCompletion(R"({"prompt": [1, 2]})");
  EXPECT_THAT(ids->requests[0].tokenized().input_ids(), ElementsAre(1, 2));
  const auto texts = ParseCompletion(R"({"prompt": ["a", "b"], "request_id": "r", "n": 3})");
  ASSERT_EQ(texts->requests.size(), 2u);
  EXPECT_EQ(texts->requests[1].text(), "b");
  EXPECT_EQ(texts->requests[1].request_id(), "r-1");
  EXPECT_EQ(texts->answer.num_prompts, 2u);
  const auto lists = ParseCompletion(R"({"prompt": [[1], [2, 3]]})");
  ASSERT_EQ(lists->requests.size(), 2u);
  EXPECT_THAT(lists->requests[1].tokenized().input_ids(), ElementsAre(2, 3));
  EXPECT_TRUE(ParseCompletion(R"({"prompt": []})")->requests[0].has_tokenized());  // validation refuses it by name
}

TEST(ParseCompletionTest, EchoWithLogprobsAsksForThePrompts) {
  const auto call = ParseCompletion(With(R"("echo": true, "logprobs": 2)"));
  ASSERT_TRUE(call.ok());
  EXPECT_TRUE(call->requests[0].echo());
  EXPECT_EQ(call->requests[0].sampling_params().prompt_logprobs(), 2);
  EXPECT_FALSE(call->answer.prompt_logprobs);
  const auto status =
      frontend::FieldError(absl::StatusCode::kInvalidArgument, "sampling_params.prompt_logprobs", "asks for too much.");
  EXPECT_EQ(InClientNames(status, call->names, 0).message(), "logprobs asks for too much.");
}

struct Refused {
  const char* field;
  const char* param;
  const char* message;
};

class RefusedTest : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedTest, ByName) {
  const auto call = ParseCompletion(With(GetParam().field));
  ASSERT_FALSE(call.ok()) << GetParam().field;
  EXPECT_EQ(call.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(frontend::ErrorField(call.status()), GetParam().param);
  EXPECT_THAT(std::string(call.status().message()), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedTest,
    ::testing::Values(Refused{R"("max_tokens": "7")", "max_tokens",
                              "must be an integer from 0 to 4294967295, got a string."},
                      Refused{R"("max_tokens": -1)", "max_tokens", "got -1."},
                      Refused{R"("max_tokens": 1.5)", "max_tokens", "got 1.5."},
                      Refused{R"("max_tokens": 4294967296)", "max_tokens", "got 4294967296."},
                      Refused{R"("max_completion_tokens": true)", "max_completion_tokens", "got a boolean."},
                      Refused{R"("seed": 18446744073709551615)", "seed", "got 18446744073709551615."},
                      Refused{R"("top_k": -2)", "top_k", "from -1"},
                      Refused{R"("temperature": "hot")", "temperature", "a string"},
                      Refused{R"("stream": 1)", "stream", "must be true or false, got a number."},
                      Refused{R"("stop": 1)", "stop", "must be a list, got a number."},
                      Refused{R"("stop": ["a", 2])", "stop[1]", "must be a string"},
                      Refused{R"("stop_token_ids": [1, -1])", "stop_token_ids[1]", "must be a token id, got -1."},
                      Refused{R"("allowed_token_ids": {})", "allowed_token_ids", "an object"},
                      Refused{R"("logit_bias": {"a": 1})", "logit_bias", "token ids, as strings"},
                      Refused{R"("logit_bias": {" 1": 1})", "logit_bias", "token ids, as strings"},
                      Refused{R"("logit_bias": {"1": "2"})", "logit_bias", "to numbers"},
                      Refused{R"("logit_bias": [1])", "logit_bias", "must be an object, got a list."},
                      Refused{R"("stream_options": {"include_usage": true})", "stream_options", "for streams only"},
                      Refused{R"("stream": true, "stream_options": {"include_usage": "yes"})",
                              "stream_options.include_usage", "a string"},
                      Refused{R"("stream": true, "prompt_logprobs": 1)", "prompt_logprobs", "cannot be streamed"},
                      Refused{R"("suffix": "end")", "suffix", "not served"},
                      Refused{R"("add_special_tokens": false)", "add_special_tokens", "cannot be false"},
                      Refused{R"("detokenize": false)", "detokenize", "must be true"},
                      Refused{R"("chat_template": "{{ x }}")", "chat_template", "never taken from a client"},
                      Refused{R"("cache_salt": "s")", "cache_salt", "never taken from a client"},
                      Refused{R"("logprobs": true)", "logprobs", "a boolean"},
                      Refused{R"("early_stopping": 1)", "early_stopping", "must be a string"}));

TEST(ParseCompletionTest, BadPrompts) {
  const auto param = [](const std::string& body) { return frontend::ErrorField(ParseCompletion(body).status()); };
  EXPECT_EQ(param("{}"), "prompt");
  EXPECT_EQ(param(R"({"model": 1, "prompt": "a"})"), "model");
  EXPECT_EQ(param(R"({"prompt": 3})"), "prompt");
  EXPECT_EQ(param(R"({"prompt": {"a": 1}})"), "prompt");
  EXPECT_EQ(param(R"({"prompt": [1, "a"]})"), "prompt[1]");
  EXPECT_EQ(param(R"({"prompt": ["a", 1]})"), "prompt[1]");
  EXPECT_EQ(param(R"({"prompt": [[1], [2, -1]]})"), "prompt[1][1]");
  EXPECT_EQ(param(R"({"prompt": [1.5]})"), "prompt[0]");
  EXPECT_EQ(param(R"({"prompt": [4294967296]})"), "prompt[0]");
  std::string many = R"({"prompt": ["a")";
  for (size_t i = 0; i < kPromptsMax; ++i) many += R"(,"a")";
  const absl::Status status = ParseCompletion(many + "]}").status();
  EXPECT_EQ(status.message(), "prompt may hold at most 64 prompts, got 65.");
  std::string ids = R"({"prompt": ["a", "b"], "allowed_token_ids": [1)";
  for (int i = 0; i < (1 << 19); ++i) ids += ",1";
  EXPECT_EQ(param(ids + "]}"), "allowed_token_ids");
}

TEST(InClientNamesTest, FieldsAsTheClientWroteThem) {
  const auto renamed = [](const Call& call, const char* field) {
    const absl::Status status = frontend::FieldError(absl::StatusCode::kNotFound, field, "is wrong.");
    const absl::Status out = InClientNames(status, call.names, 1);
    EXPECT_EQ(out.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(out.message(), frontend::ErrorField(out) + " is wrong.");
    return frontend::ErrorField(out);
  };
  const auto one = ParseCompletion(With(R"("max_tokens": 3)"));
  EXPECT_EQ(renamed(*one, "sampling_params.max_tokens"), "max_tokens");
  EXPECT_EQ(renamed(*one, "sampling_params.top_p"), "top_p");
  EXPECT_EQ(renamed(*one, "text"), "prompt");
  EXPECT_EQ(renamed(*one, "tokenized.input_ids"), "prompt");
  EXPECT_EQ(renamed(*one, "model"), "model");
  const auto batch = ParseCompletion(R"({"prompt": ["a", "b"]})");
  EXPECT_EQ(renamed(*batch, "text"), "prompt[1]");
  const auto chat = ParseChatCompletion(R"({"messages": [], "max_completion_tokens": 2, "max_tokens": 1,
                                            "logprobs": true, "top_logprobs": 1})");
  EXPECT_EQ(renamed(*chat, "sampling_params.max_tokens"), "max_completion_tokens");
  EXPECT_EQ(renamed(*chat, "sampling_params.logprobs"), "top_logprobs");
  EXPECT_EQ(renamed(*chat, "chat.messages[2].role"), "messages[2].role");
  EXPECT_EQ(renamed(*chat, "chat.messages[2].tool_calls[0].name"), "messages[2].tool_calls[0].function.name");
  EXPECT_EQ(renamed(*chat, "chat.messages[2].name"), "messages[2].name");
  EXPECT_EQ(renamed(*chat, "chat.tools[1]"), "tools[1]");
  EXPECT_EQ(renamed(*chat, "chat"), "messages");
  const absl::Status plain = absl::InternalError("sampling_params.x");
  EXPECT_EQ(InClientNames(plain, chat->names, 0), plain);
}

}  // namespace
}  // namespace quire::openai
