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
  EXPECT_NE(status.message().find("65537 tokens x (1 + 15) is 1048592, must be at most 1048576"), std::string::npos)
      << status;
}

}  // namespace
}  // namespace quire::frontend
