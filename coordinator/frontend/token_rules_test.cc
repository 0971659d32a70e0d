#include "coordinator/frontend/token_rules.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/frontend/field_error.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

using Words = std::vector<std::vector<int32_t>>;

// Letters are 1..26; a space and the letter after it are one token, 30 more than the letter's. "#" has no token.
absl::StatusOr<std::vector<int32_t>> EncodeLetters(const std::string& text, bool add_special_tokens) {
  EXPECT_FALSE(add_special_tokens);
  if (text == " was") return std::vector<int32_t>{70};               // one token inside of a text, three at its start
  if (text == " q") return std::vector<int32_t>{80, 'q' - 'a' + 1};  // the space is a token of its own
  std::vector<int32_t> ids;
  int32_t space = 0;
  for (const char c : text) {
    if (c == ' ') {
      space = 30;
    } else if (c != '#') {
      ids.push_back(c - 'a' + 1 + space);
      space = 0;
    }
  }
  return ids;
}

request::SamplingParams Read(const std::vector<std::string>& words) {
  v1::SamplingParams in;
  for (const std::string& word : words) in.add_bad_words(word);
  request::SamplingParams out;
  const absl::Status status = ReadTokenRules(in, 100, EncodeLetters, &out);
  EXPECT_TRUE(status.ok()) << status;
  return out;
}

TEST(TokenRulesTest, AWordIsBannedAtTheStartAndInsideOfAText) {
  EXPECT_EQ(Read({"a"}).bad_words, (Words{{1}, {31}}));
  EXPECT_EQ(Read({"was"}).bad_words, (Words{{23, 1, 19}, {70}}));
  EXPECT_EQ(Read({"q"}).bad_words, (Words{{17}})) << "banned after a space as anywhere";
  EXPECT_EQ(Read({"abc", "  d"}).bad_words, (Words{{1, 2, 3}, {31, 2, 3}, {4}, {34}}));
}

TEST(TokenRulesTest, WordsWithoutTokensAreRefused) {
  v1::SamplingParams in;
  in.add_bad_words("#");
  request::SamplingParams out;
  const absl::Status status = ReadTokenRules(in, 100, EncodeLetters, &out);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_EQ(ErrorField(status), "sampling_params.bad_words");
  in.set_bad_words(0, "z");
  EXPECT_TRUE(absl::IsInvalidArgument(ReadTokenRules(in, 20, EncodeLetters, &out))) << "z is 26";
}

TEST(TokenRulesTest, BadWordsNeedATokenizer) {
  v1::SamplingParams in;
  in.add_bad_words("a");
  request::SamplingParams out;
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadTokenRules(in, 100, nullptr, &out)));
}

TEST(TokenRulesTest, AllowedIdsCountOnce) {
  v1::SamplingParams in;
  for (const uint32_t id : {7u, 3u, 7u, 99u}) in.add_allowed_token_ids(id);
  request::SamplingParams out;
  ASSERT_TRUE(ReadTokenRules(in, 100, nullptr, &out).ok());
  EXPECT_EQ(out.allowed_token_ids, (std::vector<int32_t>{3, 7, 99}));
}

}  // namespace
}  // namespace quire::frontend
