// The dialect: each expectation was read off the reference (PyPI `tokenizers` 0.23.3, Oniguruma).
#include "coordinator/text/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "coordinator/text/regex_syntax.h"

namespace quire::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> Matches(const std::string& pattern, const std::string& text) {
  absl::StatusOr<std::unique_ptr<const Regex>> regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << regex.status();
  std::vector<std::string> found;
  if (!regex.ok()) return found;
  RegexMatches matches(**regex, text);
  TextSpan span;
  while (true) {
    const absl::StatusOr<bool> more = matches.Next(&span);
    EXPECT_TRUE(more.ok()) << more.status();
    if (!more.ok() || !*more) return found;
    found.push_back(text.substr(span.begin, span.end - span.begin));
  }
}

TEST(RegexTest, AnchorsMatchAtLines) {
  EXPECT_THAT(Matches("\\s+$", "a  \nb  \n c  "), ElementsAre("  ", "  ", "  "));
  EXPECT_THAT(Matches("^a", "a\naa\na"), ElementsAre("a", "a", "a"));
}

TEST(RegexTest, AnIntervalIsNeverPossessiveOrLazy) {
  EXPECT_THAT(Matches("\\p{N}{1,3}+", "1234567 12"), ElementsAre("1234567", "12"));
  EXPECT_THAT(Matches("\\p{N}{1,3}", "1234567 12"), ElementsAre("123", "456", "7", "12"));
  EXPECT_THAT(Matches("a{2}+", "aaaaa"), ElementsAre("aaaa"));
  EXPECT_THAT(Matches("(?:ab){2}+c", "ababababc"), ElementsAre("ababababc"));
  EXPECT_THAT(Matches("xa{2}?", "xaax"), ElementsAre("xaa", "x"));
  EXPECT_THAT(Matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(Matches("a{b", "a{b"), ElementsAre("a{b"));
}

TEST(RegexTest, ClassesHoldWhatTheReferenceHolds) {
  EXPECT_THAT(Matches("\\h+", "abcxyz"), ElementsAre("abc"));
  EXPECT_THAT(Matches("\\s+",
                      "a\u180eb\u0085c\x1c"
                      "d\u200be\u3000f"),
              ElementsAre("\u0085", "\u3000"));
  EXPECT_THAT(Matches("\\w+", "a\u0301b_c\u203fd\u0660 \u24b6 \u2460"),
              ElementsAre("a\u0301b_c\u203fd\u0660", "\u24b6"));
  EXPECT_THAT(Matches("\\d+", "a1\u0663b\u00b2"), ElementsAre("1\u0663"));
  EXPECT_THAT(Matches("[^\\S\\n]+", "a  \n b"), ElementsAre("  ", " "));
  EXPECT_THAT(Matches("\\bfoo\\b", "foo a\u0301foo foo"), ElementsAre("foo", "foo"));
  EXPECT_THAT(Matches("[]a]+", "a]b"), ElementsAre("a]"));
  EXPECT_THAT(Matches("[\\s-]+", "a - b"), ElementsAre(" - "));
  EXPECT_THAT(Matches(" ?[^(\\s|[.,!?\u3002])]+", "Hello (a|b) x.y!"), ElementsAre("Hello", "a", "b", " x", "y"));
}

TEST(RegexTest, OptionsAndEscapes) {
  EXPECT_THAT(Matches("(?m:.)+", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(Matches("(?i:'s)", "x'\u017fy'Sz"), ElementsAre("'\u017f", "'S"));
  EXPECT_THAT(Matches("\\u0061+", "aab"), ElementsAre("aa"));
  EXPECT_THAT(Matches(".", "a\nb\rc"), ElementsAre("a", "b", "\r", "c"));
  EXPECT_THAT(Matches("x*", "axxb"), ElementsAre("", "xx", ""));
}

TEST(RegexTest, RefusesByNameWhatHasNoEqualForm) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[a-w&&[^c-g]]", "set intersection '&&' at byte 4"},
      {"[a[^b]]", "a negated class inside a class"},
      {"[[:punct:]]", "POSIX class"},
      {"(*FAIL)", "callout"},
      {"a(?i)b", "inline option inside the pattern"},
      {"\\Kx", "'\\K'"},
      {"(?R)", "the group '(?'"},
  };
  for (const auto& [pattern, what] : cases) {
    const absl::Status status = Regex::Compile(pattern).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << pattern;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
    EXPECT_THAT(std::string(status.message()), HasSubstr(pattern));
  }
}

TEST(RegexTest, BrokenPatternsAreRefused) {
  for (const char* pattern :
       {"(", ")", "[a", "a\\", "\\u00", "\\p{", "\\pL", "{2}", "*", "(?#", "\\p{Nonsense}", "[z-a]"}) {
    EXPECT_EQ(Regex::Compile(pattern).status().code(), absl::StatusCode::kInvalidArgument) << pattern;
  }
  EXPECT_FALSE(Regex::Compile(std::string(100000, 'a')).ok());
}

TEST(RegexTest, AMatchThatWouldTakeForeverGivesUp) {
  absl::StatusOr<std::unique_ptr<const Regex>> regex = Regex::Compile("(?:a+)+(?:a+)+(?:a+)+b(?=c)");
  ASSERT_TRUE(regex.ok());
  TextSpan span;
  const std::string text(5000, 'a');
  const absl::StatusOr<bool> found = (*regex)->Find(text + "b", 0, &span);
  EXPECT_EQ(found.status().code(), absl::StatusCode::kResourceExhausted) << found.status();
}

}  // namespace
}  // namespace quire::text
