#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/call.h"

namespace quire::openai {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<Call> With(const std::string& field) {
  return ParseChatCompletion(absl::StrCat(R"({"messages": [{"role": "user", "content": "Hi"}], )", field, "}"));
}

v1::SamplingParams Params(const std::string& field) {
  const auto call = With(field);
  EXPECT_TRUE(call.ok()) << field << ": " << call.status();
  return call.ok() ? call->requests[0].sampling_params() : v1::SamplingParams();
}

TEST(ConstraintTest, ResponseFormat) {
  EXPECT_EQ(Params(R"("response_format": {"type": "text"})").constraint_case(), v1::SamplingParams::CONSTRAINT_NOT_SET);
  EXPECT_TRUE(Params(R"("response_format": {"type": "json_object"})").json_object());
  EXPECT_EQ(Params(R"("response_format": {"type": "json_schema", "json_schema":
                      {"name": "s", "strict": true, "schema": {"type": "object", "a": 1}}})")
                .json_schema(),
            R"({"type":"object","a":1})");
  EXPECT_EQ(Params(R"("response_format": {"type": "structural_tag", "format": {}})").structural_tag(),
            R"({"type":"structural_tag","format":{}})");
}

TEST(ConstraintTest, OfVllm) {
  EXPECT_EQ(Params(R"("structured_outputs": {"json": {"b": 1, "a": 2}})").json_schema(), R"({"b":1,"a":2})");
  EXPECT_EQ(Params(R"("structured_outputs": {"json": "{ }"})").json_schema(), "{ }");
  EXPECT_TRUE(Params(R"("structured_outputs": {"json_object": true})").json_object());
  EXPECT_EQ(Params(R"("structured_outputs": {"regex": "a+"})").regex(), "a+");
  EXPECT_EQ(Params(R"("structured_outputs": {"grammar": "root ::= x"})").grammar(), "root ::= x");
  EXPECT_EQ(Params(R"("structured_outputs": {"structural_tag": "{}"})").structural_tag(), "{}");
  EXPECT_THAT(Params(R"("structured_outputs": {"choice": ["a", "b"]})").choice().choices(), ElementsAre("a", "b"));
  EXPECT_THAT(Params(R"("guided_choice": ["a"])").choice().choices(), ElementsAre("a"));
  EXPECT_EQ(Params(R"("guided_json": {})").json_schema(), "{}");
  EXPECT_EQ(Params(R"("guided_regex": "b")").regex(), "b");
  EXPECT_EQ(Params(R"("guided_grammar": "g", "guided_json": null)").grammar(), "g");
  EXPECT_EQ(Params(R"("structured_outputs": {"json_object": false, "regex": null})").constraint_case(),
            v1::SamplingParams::CONSTRAINT_NOT_SET);
}

TEST(ConstraintTest, WhatIsWrongHasAName) {
  const auto param = [](const std::string& field) {
    const auto call = With(field);
    EXPECT_FALSE(call.ok()) << field;
    return frontend::ErrorField(call.status());
  };
  EXPECT_EQ(param(R"("response_format": "json")"), "response_format");
  EXPECT_EQ(param(R"("response_format": {})"), "response_format.type");
  EXPECT_EQ(param(R"("response_format": {"type": "xml"})"), "response_format.type");
  EXPECT_EQ(param(R"("response_format": {"type": "json_schema"})"), "response_format.json_schema");
  EXPECT_EQ(param(R"("response_format": {"type": "json_schema", "json_schema": {"schema": 1}})"),
            "response_format.json_schema.schema");
  EXPECT_EQ(param(R"("structured_outputs": {"regex": 1})"), "structured_outputs.regex");
  EXPECT_EQ(param(R"("structured_outputs": {"regex": "a", "grammar": "b"})"), "structured_outputs");
  EXPECT_EQ(param(R"("response_format": {"type": "json_object"}, "guided_regex": "a")"), "guided_regex");
  EXPECT_EQ(param(R"("guided_choice": [1])"), "guided_choice[0]");
}

TEST(ConstraintTest, ErrorsNameTheFieldThatAsked) {
  const auto renamed = [](const Call& call, const char* field) {
    return frontend::ErrorField(
        InClientNames(frontend::FieldError(absl::StatusCode::kUnimplemented, field, "is bad."), call.names, 0));
  };
  EXPECT_EQ(renamed(*With(R"("response_format": {"type": "json_object"})"), "sampling_params.json_object"),
            "response_format");
  EXPECT_EQ(renamed(*With(R"("guided_regex": "a")"), "sampling_params.regex"), "guided_regex");
}

}  // namespace
}  // namespace quire::openai
