#include "coordinator/frontend/generation_config.h"

#include <gtest/gtest.h>

namespace quire::frontend {
namespace {

GenerationDefaults Parse(const std::string& json, size_t num_warnings = 0) {
  std::vector<std::string> warnings;
  const GenerationDefaults defaults = ParseGenerationConfig(json, &warnings);
  EXPECT_EQ(warnings.size(), num_warnings) << (warnings.empty() ? json : warnings[0]);
  return defaults;
}

TEST(GenerationConfigTest, ReadsWhatWeHaveFieldsFor) {
  const GenerationDefaults d = Parse(
      R"({"_from_model_config": true, "bos_token_id": 1, "do_sample": true, "eos_token_id": [2, 3], "temperature": 0.6,
          "top_p": 0.9, "top_k": 50, "min_p": 0.05, "repetition_penalty": 1.1, "max_new_tokens": 100})");
  EXPECT_EQ(d.temperature, 0.6f);
  EXPECT_EQ(d.top_p, 0.9f);
  EXPECT_EQ(d.top_k, 50u);
  EXPECT_EQ(d.min_p, 0.05f);
  EXPECT_EQ(d.repetition_penalty, 1.1f);
  EXPECT_EQ(d.max_new_tokens, 100u);
}

TEST(GenerationConfigTest, StopStringsAreOneOrAList) {
  EXPECT_EQ(Parse(R"({"min_new_tokens": 3})").min_new_tokens, 3u);
  EXPECT_EQ(Parse(R"({"min_new_tokens": null, "stop_strings": null})").min_new_tokens, std::nullopt);
  EXPECT_EQ(Parse(R"({"stop_strings": "###"})").stop_strings, std::vector<std::string>{"###"});
  EXPECT_EQ(Parse(R"({"stop_strings": ["a", "\u00e9b"]})").stop_strings, (std::vector<std::string>{"a", "éb"}));
  EXPECT_TRUE(Parse(R"({"stop_strings": []})").stop_strings.empty());
  const std::string longest(kStopStringBytesMax, 'x');
  EXPECT_EQ(Parse("{\"stop_strings\": \"" + longest + "\"}").stop_strings.size(), 1u);
  for (const std::string& bad : {std::string("3"), std::string(R"(["a", 3])"), std::string(R"([""])"),
                                 "\"" + longest + "x\"", "[" + std::string(R"("s")") + [] {
                                   std::string more;
                                   for (size_t i = 0; i < kStopStringsMax; ++i) more += R"(,"s")";
                                   return more;
                                 }() + "]"}) {
    EXPECT_TRUE(Parse("{\"stop_strings\": " + bad + "}", /*num_warnings=*/1).stop_strings.empty()) << bad;
  }
}

TEST(GenerationConfigTest, AbsentAndNullAreUnset) {
  for (const char* json : {"", "{}", R"({"temperature": null, "top_k": null})"}) {
    const GenerationDefaults d = Parse(json);
    EXPECT_FALSE(d.temperature.has_value()) << json;
    EXPECT_FALSE(d.top_k.has_value()) << json;
    EXPECT_FALSE(d.max_new_tokens.has_value()) << json;
  }
}

TEST(GenerationConfigTest, WhatIsOutOfRangeIsLeftOutAndNamed) {
  for (const char* json :
       {R"({"temperature": 3})", R"({"temperature": -1})", R"({"temperature": "hot"})", R"({"temperature": [1]})",
        R"({"top_p": 0})", R"({"top_p": 1e-60})", R"({"top_p": 1.5})", R"({"min_p": 2})",
        R"({"repetition_penalty": 0})", R"({"max_new_tokens": 0})", R"({"top_k": -2})", R"({"min_new_tokens": -1})"}) {
    const GenerationDefaults d = Parse(json, /*num_warnings=*/1);
    EXPECT_FALSE(d.temperature || d.top_p || d.min_p || d.repetition_penalty || d.max_new_tokens || d.top_k ||
                 d.min_new_tokens)
        << json;
  }
  std::vector<std::string> warnings;
  ParseGenerationConfig(R"({"temperature": 3})", &warnings);
  EXPECT_EQ(warnings.at(0), "generation_config.json: temperature is ignored: it must be a number in [0, 2], got 3.");
}

TEST(GenerationConfigTest, BadJsonHasNoDefaults) {
  for (const char* json : {"{", "[1]", "\xff", "{\"temperature\": 1e999}"}) Parse(json, /*num_warnings=*/1);
}

TEST(GenerationConfigTest, MinusOneIsAllOfTopK) { EXPECT_EQ(Parse(R"({"top_k": -1})").top_k, 0u); }

}  // namespace
}  // namespace quire::frontend
