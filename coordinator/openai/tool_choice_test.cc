#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/call.h"

namespace quire::openai {
namespace {

constexpr char kTools[] = R"([{"type": "function", "function": {"name": "f", "parameters":
    {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "integer"}}}}},
    {"type": "function", "function": {"name": "g"}}])";

absl::StatusOr<Call> With(const std::string& fields) {
  return ParseChatCompletion(
      absl::StrCat(R"({"messages": [{"role": "user", "content": "Hi"}], "tools": )", kTools, ", ", fields, "}"));
}

TEST(ToolChoiceTest, ByName) {
  const auto call = With(R"("tool_choice": {"type": "function", "function": {"name": "f"}})");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->answer.tool_output, ToolOutput::kArguments);
  EXPECT_EQ(call->answer.tool_name, "f");
  EXPECT_EQ(call->requests[0].sampling_params().json_schema(),
            R"({"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer"}}})");
  const auto bare = With(R"("tool_choice": {"type": "function", "function": {"name": "g"}})");
  EXPECT_EQ(bare->requests[0].sampling_params().json_schema(), R"({"type":"object"})");
  const absl::Status unserved =
      frontend::FieldError(absl::StatusCode::kUnimplemented, "sampling_params.json_schema", "is not served.");
  EXPECT_EQ(InClientNames(unserved, call->names, 0).message(), "tool_choice is not served.");
}

TEST(ToolChoiceTest, Required) {
  const auto call = With(R"("tool_choice": "required", "parallel_tool_calls": false)");
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->answer.tool_output, ToolOutput::kList);
  EXPECT_EQ(nlohmann::json::parse(call->requests[0].sampling_params().json_schema()), nlohmann::json::parse(R"(
      {"type": "array", "minItems": 1, "maxItems": 1, "$defs": {"A": {"type": "integer"}}, "items": {"anyOf": [
        {"type": "object", "required": ["name", "parameters"], "properties": {
          "name": {"type": "string", "enum": ["f"]},
          "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}},
        {"type": "object", "required": ["name", "parameters"], "properties": {
          "name": {"type": "string", "enum": ["g"]}, "parameters": {"type": "object"}}}]}})"));
}

TEST(ToolChoiceTest, Wrong) {
  for (const char* fields : {R"("tool_choice": "any")", R"("tool_choice": 1)", R"("tool_choice": {"type": "function"})",
                             R"("tool_choice": {"type": "function", "function": {"name": "h"}})",
                             R"("tool_choice": "required", "response_format": {"type": "json_object"})"}) {
    EXPECT_EQ(frontend::ErrorField(With(fields).status()), "tool_choice") << fields;
  }
  EXPECT_EQ(frontend::ErrorField(ParseChatCompletion(R"({"messages": [], "tool_choice": "required"})").status()),
            "tool_choice");
}

}  // namespace
}  // namespace quire::openai
