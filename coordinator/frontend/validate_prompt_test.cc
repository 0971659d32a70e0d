// What validation does with the prompt itself; the fields one by one are in validate_test.cc.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/validate.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

Limits TestLimits() {
  Limits limits;
  limits.vocab_size = 1000;
  limits.max_model_len = 64;
  return limits;
}

TEST(ValidatePromptTest, PromptLogprobsAreBounded) {
  Limits limits = TestLimits();
  limits.max_model_len = 1 << 20;
  v1::GenerateRequest message;
  message.mutable_sampling_params()->set_prompt_logprobs(15);
  message.mutable_sampling_params()->set_max_tokens(1);
  for (int64_t i = 0; i < kPromptLogprobsMax / 16; ++i) message.mutable_tokenized()->add_input_ids(1);
  EXPECT_TRUE(Validate(message, limits, nullptr).ok());
  message.mutable_tokenized()->add_input_ids(1);
  const absl::Status status = Validate(message, limits, nullptr).status();
  EXPECT_EQ(ErrorField(status), "sampling_params.prompt_logprobs");
  EXPECT_NE(status.message().find("16385 tokens x (1 + 15) is 262160, must be at most 262144"), std::string::npos)
      << status;
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

TEST(ValidatePromptTest, SharedPrefixesNeedThePrefixCache) {
  Limits limits = TestLimits();
  const v1::GenerateRequest message = Parse("text: 'abcd' shared_prefix_tokens: 3");
  const absl::StatusOr<request::Request> request = Validate(message, limits, EncodeBytes);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->shared_prefix_tokens, 3);
  limits.prefix_caching = false;
  const absl::Status status = Validate(message, limits, EncodeBytes).status();
  EXPECT_EQ(ErrorField(status), "shared_prefix_tokens");
  EXPECT_NE(status.message().find("must be 0 with --enable_prefix_caching=false, got 3."), std::string::npos) << status;
}

std::vector<int32_t> Truncated(int prompt_len, int32_t truncate, uint32_t max_tokens = 0) {
  v1::GenerateRequest message;
  for (int i = 1; i <= prompt_len; ++i) message.mutable_tokenized()->add_input_ids(static_cast<uint32_t>(i));
  message.mutable_sampling_params()->set_truncate_prompt_tokens(truncate);
  if (max_tokens > 0) message.mutable_sampling_params()->set_max_tokens(max_tokens);
  const absl::StatusOr<request::Request> request = Validate(message, TestLimits(), nullptr);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? request->prompt_ids : std::vector<int32_t>();
}

TEST(ValidatePromptTest, TruncationKeepsTheEnd) {
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(Truncated(3, 2), (Ids{2, 3}));
  EXPECT_EQ(Truncated(3, 3), (Ids{1, 2, 3}));
  EXPECT_EQ(Truncated(3, 100), (Ids{1, 2, 3}));
  EXPECT_EQ(Truncated(3, -1), (Ids{1, 2, 3}));
  EXPECT_EQ(Truncated(3, -1, 62), (Ids{2, 3})) << "64 in all";
  EXPECT_EQ(Truncated(500, -1).size(), 63u) << "room for one token";
  v1::GenerateRequest text;
  text.set_text(std::string(1000, 'a') + "b");
  text.mutable_sampling_params()->set_truncate_prompt_tokens(2);
  const absl::StatusOr<request::Request> request = Validate(text, TestLimits(), EncodeBytes);
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->prompt_ids, (Ids{'a', 'b'}));
}

TEST(ValidatePromptTest, StopStringsNeedATokenizer) {
  v1::GenerateRequest message;
  message.mutable_tokenized()->add_input_ids(1);
  message.mutable_sampling_params()->add_stop("x");
  EXPECT_TRUE(Validate(message, TestLimits(), EncodeBytes).ok());
  const absl::Status status = Validate(message, TestLimits(), nullptr).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_EQ(ErrorField(status), "sampling_params.stop");
}

TEST(ValidatePromptTest, CheapChecksComeBeforeTheTokenizer) {
  int num_encodes = 0;
  const auto counting = [&num_encodes](const std::string& text, bool add_special_tokens) {
    ++num_encodes;
    return EncodeBytes(text, add_special_tokens);
  };
  EXPECT_FALSE(Validate(Parse("text: 'a' sampling_params { top_p: 0 }"), TestLimits(), counting).ok());
  EXPECT_FALSE(Validate(Parse("text: 'a' model: 'other'"), TestLimits(), counting).ok());
  EXPECT_EQ(num_encodes, 0);
  EXPECT_TRUE(Validate(Parse("text: 'a'"), TestLimits(), counting).ok());
  EXPECT_EQ(num_encodes, 1);
}

}  // namespace
}  // namespace quire::frontend
