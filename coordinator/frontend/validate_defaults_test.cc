// What validation fills in from the model's own generation_config.json, and when that gives way to the request.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/validate.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

constexpr char kPrompt[] = "tokenized { input_ids: [1, 2, 3] } ";

Limits TestLimits() {
  Limits limits;
  limits.vocab_size = 1000;
  limits.max_model_len = 64;
  return limits;
}

// One token per byte.
absl::StatusOr<std::vector<int32_t>> EncodeBytes(const std::string& text, bool) {
  return std::vector<int32_t>(text.begin(), text.end());
}

v1::GenerateRequest Parse(const std::string& text) {
  v1::GenerateRequest message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

std::string Sampling(const std::string& fields) { return absl::StrCat(kPrompt, "sampling_params { ", fields, " }"); }

TEST(ValidateDefaultsTest, ModelsDefaultsFillOnlyWhatIsUnset) {
  Limits limits = TestLimits();
  limits.defaults.temperature = 0.0f;
  limits.defaults.top_p = 0.5f;
  limits.defaults.top_k = 50;
  limits.defaults.max_new_tokens = 10;
  absl::StatusOr<request::Request> request = Validate(Parse(kPrompt), limits, EncodeBytes);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->params.temperature, 0.0f);
  EXPECT_EQ(request->params.top_p, 0.5f);
  EXPECT_EQ(request->params.top_k, 50u);
  EXPECT_EQ(request->params.max_tokens, 10u);
  request = Validate(Parse(Sampling("temperature: 1 top_p: 1 top_k: 0 max_tokens: 30")), limits, EncodeBytes);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->params.temperature, 1.0f);
  EXPECT_EQ(request->params.top_p, 1.0f);
  EXPECT_EQ(request->params.top_k, 0u);
  EXPECT_EQ(request->params.max_tokens, 30u);
}

TEST(ValidateDefaultsTest, ModelsStopsAndLeastLengthGiveWay) {
  Limits limits = TestLimits();
  limits.defaults.min_new_tokens = 7;
  limits.defaults.stop_strings = {"###", "User:"};
  const auto params = [&](const std::string& sampling, const Encode& encode) {
    const absl::StatusOr<request::Request> request = Validate(
        Parse(absl::StrCat("tokenized { input_ids: [1, 2] } sampling_params { ", sampling, " }")), limits, encode);
    EXPECT_TRUE(request.ok()) << request.status();
    return request.ok() ? request->params : request::SamplingParams();
  };
  const std::vector<std::string> stops = {"###", "User:"}, none;
  EXPECT_EQ(params("", EncodeBytes).stop, stops);
  EXPECT_EQ(params("stop: 'mine'", EncodeBytes).stop, std::vector<std::string>{"mine"});
  EXPECT_EQ(params("detokenize: false", EncodeBytes).stop, none) << "there is no text to find them in";
  EXPECT_EQ(params("", nullptr).stop, none);
  EXPECT_EQ(params("", EncodeBytes).min_tokens, 7u);
  EXPECT_EQ(params("max_tokens: 3", EncodeBytes).min_tokens, 3u);
  EXPECT_EQ(params("min_tokens: 0", EncodeBytes).min_tokens, 0u);
  EXPECT_EQ(params("min_tokens: 9", EncodeBytes).min_tokens, 9u);
  limits.defaults.max_new_tokens = 5;
  EXPECT_EQ(params("", EncodeBytes).min_tokens, 5u);
}

}  // namespace
}  // namespace quire::frontend
