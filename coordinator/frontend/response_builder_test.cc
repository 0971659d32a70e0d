#include "coordinator/frontend/response_builder.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

using Response = v1::GenerateResponse;

engine::ChoiceDelta Delta(uint32_t index, uint64_t offset, const std::vector<int32_t>& tokens, const std::string& text,
                          bool finished = false) {
  engine::ChoiceDelta delta;
  delta.index = index;
  delta.offset = offset;
  for (const int32_t token : tokens) {
    engine::TokenDelta one;
    one.token = token;
    one.logprobs.sampled = -static_cast<float>(token);
    one.logprobs.top = {{token + 1, -0.5f}};
    delta.tokens.push_back(one);
  }
  delta.text = text;
  delta.finished = finished;
  delta.reason = engine::FinishReason::kLength;
  return delta;
}

ResponseOptions Options(bool stream, uint32_t num_choices = 1) {
  ResponseOptions options;
  options.stream = stream;
  options.num_choices = num_choices;
  options.prompt_tokens = 7;
  options.seed = 42;
  options.request_id = "r";
  return options;
}

std::vector<uint32_t> Ids(const google::protobuf::RepeatedField<uint32_t>& ids) { return {ids.begin(), ids.end()}; }

TEST(ResponseBuilderTest, AFastClientGetsAChunkPerDelta) {
  ResponseBuilder builder(Options(/*stream=*/true));
  Response response;
  EXPECT_FALSE(builder.Next(&response));
  builder.Add(Delta(0, 0, {5}, "a"));
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(Ids(response.chunk().token_ids()), (std::vector<uint32_t>{5}));
  EXPECT_EQ(response.chunk().offset(), 0u);
  EXPECT_EQ(response.chunk().text(), "a");
  EXPECT_EQ(response.chunk().prompt_tokens(), 7u);
  EXPECT_EQ(response.chunk().completion_tokens(), 1u);
  EXPECT_FALSE(builder.Next(&response));
  builder.Add(Delta(0, 1, {6}, "b", /*finished=*/true));
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.chunk().offset(), 1u);
  EXPECT_FALSE(builder.HasNext()) << "no complete before the request ended";
  builder.End({absl::Seconds(1), absl::Seconds(2), absl::Seconds(3)});
  ASSERT_TRUE(builder.Next(&response));
  const Response::Complete& complete = response.complete();
  EXPECT_EQ(Ids(complete.output_ids()), (std::vector<uint32_t>{5, 6}));
  EXPECT_EQ(complete.text(), "") << "the chunks carried it";
  EXPECT_EQ(complete.finish_reason(), "length");
  EXPECT_EQ(complete.prompt_tokens(), 7u);
  EXPECT_EQ(complete.completion_tokens(), 2u);
  EXPECT_EQ(complete.seed(), 42);
  EXPECT_EQ(complete.request_id(), "r");
  EXPECT_EQ(complete.timing().queue_seconds(), 1);
  EXPECT_EQ(complete.timing().prefill_seconds(), 2);
  EXPECT_EQ(complete.timing().decode_seconds(), 3);
  EXPECT_FALSE(builder.Next(&response));
}

TEST(ResponseBuilderTest, ASlowClientGetsEverythingInOneChunk) {
  ResponseBuilder builder(Options(/*stream=*/true));
  for (int i = 0; i < 100; ++i) builder.Add(Delta(0, static_cast<uint64_t>(i), {i}, "x", i == 99));
  builder.End({});
  Response response;
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.chunk().token_ids_size(), 100);
  EXPECT_EQ(response.chunk().text(), std::string(100, 'x'));
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_TRUE(response.has_complete());
  EXPECT_FALSE(builder.HasNext());
}

TEST(ResponseBuilderTest, WithoutStreamOnlyCompletes) {
  ResponseBuilder builder(Options(/*stream=*/false, /*num_choices=*/2));
  builder.Add(Delta(1, 0, {8, 9}, "second", true));
  builder.Add(Delta(0, 0, {5}, "fir"));
  builder.Add(Delta(0, 1, {}, "st", true));
  EXPECT_FALSE(builder.HasNext());
  builder.End({});
  Response response;
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().index(), 0u);
  EXPECT_EQ(response.complete().text(), "first");
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().index(), 1u);
  EXPECT_EQ(response.complete().text(), "second");
  EXPECT_EQ(Ids(response.complete().output_ids()), (std::vector<uint32_t>{8, 9}));
  EXPECT_FALSE(builder.HasNext());
}

TEST(ResponseBuilderTest, TextThatTrailsTheIdsGetsAChunkOfItsOwn) {
  ResponseBuilder builder(Options(/*stream=*/true));
  Response response;
  builder.Add(Delta(0, 0, {5}, ""));
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_FALSE(response.chunk().has_text());
  builder.Add(Delta(0, 1, {}, "late", true));
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.chunk().text(), "late");
  EXPECT_EQ(response.chunk().offset(), 1u);
  EXPECT_EQ(response.chunk().token_ids_size(), 0);
}

TEST(ResponseBuilderTest, WhatStoppedItIsToldOnce) {
  Response response;
  engine::ChoiceDelta delta = Delta(0, 0, {5}, "", true);
  delta.reason = engine::FinishReason::kStop;
  delta.matched_stop_token = 5;
  ResponseBuilder by_token(Options(/*stream=*/false));
  by_token.Add(delta);
  by_token.End({});
  ASSERT_TRUE(by_token.Next(&response));
  EXPECT_EQ(response.complete().finish_reason(), "stop");
  EXPECT_EQ(response.complete().matched_stop_token_id(), 5u);
  delta.matched_stop_token = -1;
  delta.matched_stop_str = "END";
  ResponseBuilder by_string(Options(/*stream=*/false));
  by_string.Add(delta);
  by_string.End({});
  ASSERT_TRUE(by_string.Next(&response));
  EXPECT_EQ(response.complete().matched_stop_str(), "END");
}

TEST(ResponseBuilderTest, LogprobsStayWithTheirTokens) {
  for (const bool stream : {true, false}) {
    ResponseOptions options = Options(stream);
    options.logprobs = true;
    options.token_text = [](int32_t id) { return absl::StrCat("<", id, ">"); };
    ResponseBuilder builder(std::move(options));
    builder.Add(Delta(0, 0, {5}, "a"));
    builder.Add(Delta(0, 1, {6}, "b", true));
    builder.End({});
    Response response;
    ASSERT_TRUE(builder.Next(&response));
    const v1::OutputLogprobs& logprobs =
        stream ? response.chunk().output_logprobs() : response.complete().output_logprobs();
    ASSERT_EQ(logprobs.positions_size(), 2);
    EXPECT_EQ(logprobs.positions(1).sampled().token_id(), 6u);
    EXPECT_EQ(logprobs.positions(1).sampled().logprob(), -6.0f);
    EXPECT_EQ(logprobs.positions(1).sampled().token(), "<6>");
    EXPECT_EQ(logprobs.positions(1).top(0).token_id(), 7u);
    EXPECT_EQ(logprobs.positions(1).top(0).token(), "<7>");
  }
}

TEST(ResponseBuilderDeathTest, AGapInTheOffsetsIsABrokenInvariant) {
  ResponseBuilder builder(Options(/*stream=*/true));
  builder.Add(Delta(0, 0, {5}, "a"));
  EXPECT_DEATH(builder.Add(Delta(0, 2, {6}, "b")), "request r choice 0");
}

// Any interleaving of news and reads gives every token and every byte of text exactly once, in order (F1), and
// completes last (F3).
TEST(ResponseBuilderTest, AnyPaceGivesTheSameStream) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    const uint32_t n = 1 + random() % 4;
    ResponseBuilder builder(Options(/*stream=*/true, n));
    std::vector<std::vector<uint32_t>> ids(n), seen_ids(n);
    std::vector<std::string> text(n), seen_text(n);
    uint32_t num_completes = 0;
    const auto read = [&] {
      Response response;
      if (!builder.Next(&response)) return false;
      if (response.has_complete()) {
        EXPECT_EQ(response.complete().index(), num_completes++);
        EXPECT_EQ(Ids(response.complete().output_ids()), ids[response.complete().index()]);
        return true;
      }
      EXPECT_EQ(num_completes, 0u);
      std::vector<uint32_t>& out = seen_ids[response.chunk().index()];
      EXPECT_EQ(response.chunk().offset(), out.size());
      out.insert(out.end(), response.chunk().token_ids().begin(), response.chunk().token_ids().end());
      seen_text[response.chunk().index()] += response.chunk().text();
      return true;
    };
    for (int step = 0; step < 50; ++step) {
      for (uint32_t index = 0; index < n; ++index) {
        const auto token = static_cast<int32_t>(random() % 100);
        const std::string piece = random() % 3 == 0 ? "" : absl::StrCat(token, ",");
        builder.Add(Delta(index, ids[index].size(), {token}, piece, step == 49));
        ids[index].push_back(static_cast<uint32_t>(token));
        text[index] += piece;
      }
      for (uint32_t reads = random() % (n + 2); reads > 0; --reads) read();
    }
    builder.End({});
    while (read()) {
    }
    EXPECT_EQ(seen_ids, ids) << "seed " << seed;
    EXPECT_EQ(seen_text, text) << "seed " << seed;
    EXPECT_EQ(num_completes, n);
  }
}

ResponseOptions PromptOptions(bool stream) {
  ResponseOptions options = Options(stream, 2);
  options.prompt_logprobs = true;
  options.echo = true;
  options.prompt_ids = {3, 4, 5};
  options.prompt_text = "who";
  options.token_text = [](int32_t id) { return absl::StrCat("<", id, ">"); };
  return options;
}

engine::ChoiceDelta FirstDelta() {
  engine::ChoiceDelta delta = Delta(0, 0, {5}, "a");
  delta.prompt_logprobs = {{-4.0f, {{9, -0.25f}}}, {-5.0f, {{8, -0.5f}}}};
  return delta;
}

void ExpectPromptLogprobs(const v1::InputLogprobs& got) {
  ASSERT_EQ(got.positions_size(), 3);
  EXPECT_EQ(got.positions(0).sampled().token_id(), 3u);
  EXPECT_FALSE(got.positions(0).sampled().has_logprob()) << "nothing comes before the first token";
  EXPECT_EQ(got.positions(0).top_size(), 0);
  EXPECT_EQ(got.positions(2).sampled().token(), "<5>");
  EXPECT_EQ(got.positions(2).sampled().logprob(), -5.0f);
  EXPECT_EQ(got.positions(2).top(0).token_id(), 8u);
  EXPECT_EQ(got.positions(1).top(0).logprob(), -0.25f);
}

TEST(ResponseBuilderTest, ThePromptComesBeforeTheOutput) {
  ResponseBuilder builder(PromptOptions(/*stream=*/true));
  builder.Add(FirstDelta());
  builder.Add(Delta(1, 0, {6}, "b"));
  Response response;
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.chunk().text(), "whoa");
  EXPECT_EQ(Ids(response.chunk().prompt_token_ids()), (std::vector<uint32_t>{3, 4, 5}));
  EXPECT_EQ(Ids(response.chunk().token_ids()), (std::vector<uint32_t>{5}));
  EXPECT_EQ(response.chunk().offset(), 0u);
  ExpectPromptLogprobs(response.chunk().input_logprobs());
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.chunk().text(), "whob");
  EXPECT_EQ(response.chunk().prompt_token_ids_size(), 3);
  EXPECT_FALSE(response.chunk().has_input_logprobs()) << "once per request";
  builder.Add(Delta(0, 1, {7}, "c", /*finished=*/true));
  builder.Add(Delta(1, 1, {7}, "", /*finished=*/true));
  builder.End({});
  while (builder.Next(&response)) {
    EXPECT_EQ(response.chunk().prompt_token_ids_size(), 0);
    EXPECT_EQ(response.complete().prompt_token_ids_size(), 0);
    EXPECT_FALSE(response.complete().has_input_logprobs());
  }
}

TEST(ResponseBuilderTest, ThePromptComesWithTheWholeAnswer) {
  ResponseBuilder builder(PromptOptions(/*stream=*/false));
  builder.Add(FirstDelta());
  builder.Add(Delta(0, 1, {7}, "c", /*finished=*/true));
  builder.Add(Delta(1, 0, {6}, "b", /*finished=*/true));
  builder.End({});
  Response response;
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().text(), "whoac");
  EXPECT_EQ(response.complete().prompt_token_ids_size(), 3);
  EXPECT_EQ(Ids(response.complete().output_ids()), (std::vector<uint32_t>{5, 7}));
  ExpectPromptLogprobs(response.complete().input_logprobs());
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().text(), "whob");
  EXPECT_EQ(response.complete().prompt_token_ids_size(), 3);
  EXPECT_FALSE(response.complete().has_input_logprobs());
}

// Delta() gives token t the log-prob -t.
TEST(ResponseBuilderTest, TheBestOfManyAreAnsweredBestFirst) {
  ResponseOptions options = Options(/*stream=*/false, 2);
  options.best_of = 4;
  ResponseBuilder builder(options);
  builder.Add(Delta(0, 0, {9, 9}, "a", /*finished=*/true));
  builder.Add(Delta(1, 0, {5}, "b", /*finished=*/true));
  builder.Add(Delta(2, 0, {2, 3, 4}, "c", /*finished=*/true));  // the lowest sum of the good ones, the best mean
  builder.Add(Delta(3, 0, {4, 6}, "d", /*finished=*/true));     // as good as choice 1
  Response response;
  EXPECT_FALSE(builder.Next(&response)) << "nothing is known before all are";
  builder.End({});
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().index(), 0u);
  EXPECT_EQ(response.complete().text(), "c");
  EXPECT_DOUBLE_EQ(response.complete().cumulative_logprob(), -9);
  EXPECT_FALSE(response.complete().has_output_logprobs()) << "nobody asked";
  ASSERT_TRUE(builder.Next(&response));
  EXPECT_EQ(response.complete().index(), 1u);
  EXPECT_EQ(response.complete().text(), "b");
  EXPECT_FALSE(builder.Next(&response));
}

}  // namespace
}  // namespace quire::frontend
