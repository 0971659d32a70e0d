// Stop tokens, stop strings across token borders, minimum and maximum lengths.
#include "coordinator/request/stop_checker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace quire::request {
namespace {

// Every id stands for a given piece of text; Finish gives back what an incomplete character would.
class PieceDecoder final : public OutputDecoder {
 public:
  explicit PieceDecoder(std::vector<std::string> pieces, std::string tail = "")
      : pieces_(std::move(pieces)), tail_(tail) {}
  std::unique_ptr<OutputDecoder> Clone() const override { return std::make_unique<PieceDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { *text += pieces_.at(id); }
  void Finish(std::string* text) override { *text += tail_; }

 private:
  std::vector<std::string> pieces_;
  std::string tail_;
};

struct Outcome {
  std::string text;
  std::vector<std::string> shown;  // after every token
  Verdict verdict;
  size_t tokens = 0;
};

const std::vector<int32_t> kEos = {99};

Outcome Feed(const SamplingParams& params, std::vector<std::string> pieces, std::vector<int32_t> ids,
             std::string tail = "") {
  pieces.resize(100);
  pieces[99] = "<eos>";
  StopChecker checker(params, kEos, std::make_unique<PieceDecoder>(pieces, tail));
  Outcome out;
  for (int32_t id : ids) {
    out.verdict = checker.Append(id, &out.text);
    out.shown.push_back(out.text);
    ++out.tokens;
    if (out.verdict.finished) break;
  }
  return out;
}

SamplingParams Params(std::vector<std::string> stop, uint32_t max_tokens = 100) {
  SamplingParams p;
  p.stop = std::move(stop);
  p.max_tokens = max_tokens;
  return p;
}

TEST(StopChecker, EndOfSequenceEndsWithoutItsText) {
  const Outcome out = Feed(Params({}), {"a", "b"}, {0, 1, 99, 0});
  EXPECT_TRUE(out.verdict.finished);
  EXPECT_EQ(out.verdict.reason, FinishReason::kStop);
  EXPECT_EQ(out.verdict.matched_token, 99);
  EXPECT_EQ(out.text, "ab");
}

TEST(StopChecker, ForeseesVerdictsThatNeedNoText) {
  SamplingParams p = Params({}, 6);
  p.stop_token_ids = {1};
  p.min_tokens = 3;
  std::vector<std::string> pieces(100, "a");
  StopChecker checker(p, kEos, std::make_unique<PieceDecoder>(pieces));
  std::vector<bool> ends;
  for (int step = 0; step < 6; ++step) {
    for (int32_t id : {0, 1, 99}) {
      std::string text;
      const Verdict want = checker.Clone()->Append(id, &text), got = checker.Foresee(id);
      EXPECT_EQ(got.finished, want.finished) << "step " << step << " id " << id;
      EXPECT_EQ(got.reason, want.reason);
      EXPECT_EQ(got.matched_token, want.matched_token);
      ends.push_back(got.finished);
    }
    std::string text;
    checker.Append(0, &text);
  }
  EXPECT_EQ(std::count(ends.begin(), ends.end(), true), 3 * 2 + 1 + 2) << "end ids from min_tokens on, and the length";
}

TEST(StopChecker, OneThatFollowsGoesOnLikeTheOther) {
  const SamplingParams p = Params({"bcd"});
  std::vector<std::string> pieces = {"ab", "cx", "cd"};
  pieces.resize(100);
  StopChecker first(p, kEos, std::make_unique<PieceDecoder>(pieces)), second(p, kEos, nullptr);
  std::string text, other;
  first.Append(0, &text);
  second.Follow(first);
  EXPECT_FALSE(first.Append(1, &text).finished);
  EXPECT_EQ(text, "abcx");
  EXPECT_TRUE(second.Append(2, &other).finished) << "it holds the b as well";
}

TEST(StopChecker, IgnoreEosGoesOn) {
  SamplingParams p = Params({}, 4);
  p.ignore_eos = true;
  const Outcome out = Feed(p, {"a"}, {0, 99, 99, 0, 0});
  EXPECT_EQ(out.tokens, 4u);
  EXPECT_EQ(out.verdict.reason, FinishReason::kLength);
}

TEST(StopChecker, StopTokenWithAndWithoutItsText) {
  SamplingParams p = Params({});
  p.stop_token_ids = {1};
  EXPECT_EQ(Feed(p, {"a", "b"}, {0, 1}).text, "a");
  p.include_stop_str_in_output = true;
  EXPECT_EQ(Feed(p, {"a", "b"}, {0, 1}).text, "ab");
}

TEST(StopChecker, HoldsWhatCouldBecomeAStopString) {
  const Outcome out = Feed(Params({"STOP"}), {"x", "S", "T", "OX", "OPy"}, {0, 1, 2, 3, 1, 2, 4, 0});
  EXPECT_EQ(out.shown[0], "x");
  EXPECT_EQ(out.shown[1], "x");
  EXPECT_EQ(out.shown[2], "x");
  EXPECT_EQ(out.shown[3], "xSTOX");
  EXPECT_TRUE(out.verdict.finished);
  EXPECT_EQ(out.verdict.matched_str, "STOP");
  EXPECT_EQ(out.text, "xSTOX");
  EXPECT_EQ(out.tokens, 7u);
}

TEST(StopChecker, TheMatchThatEndsFirstWins) {
  EXPECT_EQ(Feed(Params({"bcd", "c"}), {"abcd"}, {0}).verdict.matched_str, "c");
  EXPECT_EQ(Feed(Params({"c", "bc"}), {"abcd"}, {0}).verdict.matched_str, "bc");
  EXPECT_EQ(Feed(Params({"c", "bc"}), {"abcd"}, {0}).text, "a");
}

TEST(StopChecker, IncludeStopString) {
  SamplingParams p = Params({"bc"});
  p.include_stop_str_in_output = true;
  EXPECT_EQ(Feed(p, {"ab", "cd"}, {0, 1}).text, "abc");
}

TEST(StopChecker, NothingStopsBeforeMinTokens) {
  SamplingParams p = Params({"a"}, 10);
  p.min_tokens = 3;
  const Outcome out = Feed(p, {"a"}, {0, 99, 0, 0});
  EXPECT_EQ(out.tokens, 3u);
  EXPECT_EQ(out.verdict.matched_str, "a");
  EXPECT_EQ(out.text, "a<eos>");
}

TEST(StopChecker, AStopStringHeldFromBeforeMinTokensStopsNothing) {
  // "a" is complete before min_tokens, and held because it may begin "ab".
  SamplingParams p = Params({"a", "ab"});
  p.min_tokens = 2;
  const Outcome other = Feed(p, {"a", "x", "b"}, {0, 1, 1, 1});
  EXPECT_EQ(other.tokens, 4u);
  EXPECT_EQ(other.text, "axxx");
  const Outcome longer = Feed(p, {"a", "x", "b"}, {0, 2, 1});
  EXPECT_EQ(longer.tokens, 2u);
  EXPECT_EQ(longer.verdict.matched_str, "ab");
  EXPECT_EQ(longer.text, "");
}

TEST(StopChecker, LengthShowsWhatWasHeld) {
  const Outcome out = Feed(Params({"STOP"}, 3), {"x", "S", "T"}, {0, 1, 2}, "\xEF\xBF\xBD");
  EXPECT_EQ(out.verdict.reason, FinishReason::kLength);
  EXPECT_EQ(out.text, "xST\xEF\xBF\xBD");
}

TEST(StopChecker, NoDecoderNoText) {
  SamplingParams p = Params({}, 2);
  StopChecker checker(p, kEos, nullptr);
  std::string text;
  EXPECT_FALSE(checker.Append(5, &text).finished);
  EXPECT_TRUE(checker.Append(5, &text).finished);
  EXPECT_EQ(text, "");
}

// S2: however the same text is cut into tokens, the shown text and the match are the same; S1: what is shown only
// grows.
TEST(StopChecker, CutsDoNotMatter) {
  std::mt19937 rng(7);
  const std::vector<std::string> stops = {"aba", "bb", "caab", "c"};
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 30; ++i) text += "aaab c"[rng() % 5];
    SamplingParams p = Params({stops[rng() % 4], stops[rng() % 4]}, 1000);
    std::vector<std::string> letters;
    for (char c : text) letters.push_back(std::string(1, c));
    std::vector<std::string> pieces;
    for (size_t at = 0; at < text.size();) {
      const size_t n = 1 + rng() % 6;
      pieces.push_back(text.substr(at, n));
      at += n;
    }
    const auto ids = [](size_t n) {
      std::vector<int32_t> v(n);
      for (size_t i = 0; i < n; ++i) v[i] = static_cast<int32_t>(i);
      v.push_back(99);
      return v;
    };
    const Outcome whole = Feed(p, letters, ids(letters.size()));
    const Outcome cut = Feed(p, pieces, ids(pieces.size()));
    ASSERT_EQ(whole.text, cut.text) << text;
    ASSERT_EQ(whole.verdict.matched_str, cut.verdict.matched_str) << text;
    for (size_t i = 1; i < cut.shown.size(); ++i)
      ASSERT_EQ(cut.shown[i].substr(0, cut.shown[i - 1].size()), cut.shown[i - 1]);
  }
}

}  // namespace
}  // namespace quire::request
