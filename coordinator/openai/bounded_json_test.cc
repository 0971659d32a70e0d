#include "coordinator/openai/bounded_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/openai/json_writer.h"

namespace quire::openai {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(absl::string_view text) {
  Json json;
  const absl::Status status = ParseBoundedJson(text, &json);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(status.message());
}

TEST(BoundedJsonTest, KeepsOrderAndValues) {
  const std::string text = R"({"b":1,"a":{"z":[true,null,-2,1.5,"ü\n"],"y":{}},"c":18446744073709551615})";
  Json json;
  ASSERT_TRUE(ParseBoundedJson(text, &json).ok());
  EXPECT_EQ(json.dump(), text);
}

TEST(BoundedJsonTest, RefusesWhatIsNoObject) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("not valid JSON at byte"));
  EXPECT_THAT(ErrorOf("{\"a\": 1,}"), HasSubstr("not valid JSON at byte 9"));
  EXPECT_THAT(ErrorOf("{} {}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"a\": NaN}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"a\": 1e999}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf("{\"a\": \"\xFF\"}"), HasSubstr("not valid JSON"));
  EXPECT_THAT(ErrorOf(R"({"a": "\ud800"})"), HasSubstr("not valid JSON"));
  EXPECT_EQ(ErrorOf("[1]"), "The body must be a JSON object.");
  EXPECT_EQ(ErrorOf("3"), "The body must be a JSON object.");
}

TEST(BoundedJsonTest, RefusesWhatSaysTwoThings) {
  EXPECT_EQ(ErrorOf(R"({"a": {"x": 1, "y": 2, "x": 3}})"), "The body has the key 'x' twice in one object.");
  EXPECT_EQ(ErrorOf(R"({"a": 12345678901234567890123})"), "The body holds an integer that 64 bits do not hold.");
}

TEST(BoundedJsonTest, DepthAndCountHaveBounds) {
  const auto nested = [](size_t depth) {
    return "{\"a\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}";
  };
  Json json;
  EXPECT_TRUE(ParseBoundedJson(nested(kJsonDepthMax), &json).ok());
  EXPECT_EQ(ErrorOf(nested(kJsonDepthMax + 1)), "The body is nested deeper than 64 levels.");
  EXPECT_EQ(ErrorOf("{\"a\":" + std::string(1 << 20, '[')), "The body is nested deeper than 64 levels.");
  std::string many = "{\"a\":[1";
  for (size_t i = 0; i < kJsonValuesMax; ++i) many += ",1";
  EXPECT_EQ(ErrorOf(many + "]}"), "The body holds more than 2097152 values.");
}

// With the library's own tree this takes minutes.
TEST(BoundedJsonTest, ManyKeysAreNoTrouble) {
  std::string text = "{\"k\":0";
  for (int i = 0; i < 200'000; ++i) text += ",\"" + std::to_string(i) + "\":0";
  Json json;
  ASSERT_TRUE(ParseBoundedJson(text + "}", &json).ok());
  EXPECT_EQ(json.size(), 200'001u);
}

TEST(JsonWriterTest, QuotesWhatMustBe) {
  const std::string text = std::string("a\"b\\c\n\r\t\x01\x7F\0 ü€\xF0\x9F\x98\x80/", 21);
  EXPECT_EQ(nlohmann::json::parse(Quoted(text)), text);
  EXPECT_EQ(Quoted("a\nb").find('\n'), std::string::npos);
  EXPECT_EQ(Quoted("\xE2\x82"), "\"\xEF\xBF\xBD\"");
  EXPECT_EQ(Quoted("x\xFFy"), "\"x\xEF\xBF\xBDy\"");
  EXPECT_EQ(Quoted(""), "\"\"");
}

TEST(JsonWriterTest, LogprobsReadBack) {
  const auto written = [](float value) {
    std::string out;
    AppendLogprob(value, &out);
    return out;
  };
  for (const float value : {0.0f, -0.1f, -1e-9f, -12.345678f, -9998.5f}) {
    EXPECT_EQ(nlohmann::json::parse(written(value)).get<float>(), value);
  }
  EXPECT_EQ(written(-std::numeric_limits<float>::infinity()), "-9999");
  EXPECT_EQ(written(std::numeric_limits<float>::quiet_NaN()), "-9999");
}

}  // namespace
}  // namespace quire::openai
