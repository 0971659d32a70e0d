// Random walks along the masks give exactly what the grammar describes; bad, slow and greedy grammars end their own
// request only. The compiler's process is this test again.
#include "coordinator/grammar/grammars.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/grammar/compiler_process.h"
#include "coordinator/grammar/xgrammar_engine.h"

namespace quire::grammar {
namespace {

constexpr int32_t kVocab = 300;  // not a multiple of 32
constexpr int32_t kStop = 298;
const char* const kWords[] = {"yes", "no", "\"a\"", "true", "{\"", "\":", " 12", "null"};

std::string TokenBytes(int32_t id) {
  if (id < 256) return std::string(1, static_cast<char>(id));
  const size_t word = static_cast<size_t>(id) - 256;
  return word < std::size(kWords) ? kWords[word] : "";
}

class GrammarsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasGrammarLibrary()) GTEST_SKIP() << "built without the library";
  }

  void Make(GrammarOptions options = {}) {
    options.explain = [](const absl::Status& s, const std::string& field) {
      return absl::Status(s.code(), absl::StrCat(field, " ", s.message()));
    };
    grammars_ = std::make_unique<Grammars>(options, TokenBytes);
  }

  std::unique_ptr<request::OutputConstraint> Constrain(GrammarKind kind, std::string text,
                                                       const std::string& tenant = "") {
    if (grammars_ == nullptr) Make();
    auto make = grammars_->Constrain(tenant, {kind, std::move(text), "the_field"}, {kStop}, kVocab);
    EXPECT_TRUE(make.ok()) << make.status();
    return (*make)();
  }

  static absl::Status Await(const request::OutputConstraint& constraint) {
    for (int i = 0; i < 60'000 && !constraint.ready(); ++i) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_TRUE(constraint.ready());
    return constraint.status();
  }

  static std::vector<int32_t> Allowed(const request::OutputConstraint& constraint) {
    std::vector<int32_t> ids;
    const TokenMask mask = constraint.mask();
    EXPECT_EQ(mask->size(), (kVocab + 31) / 32u);
    for (int32_t id = 0; id < static_cast<int32_t>(32 * mask->size()); ++id) {
      if ((*mask)[id / 32] >> (id % 32) & 1) ids.push_back(id);
    }
    return ids;
  }

  // Draws evenly until the end, or until the text has `most` tokens; then false.
  static bool Walk(request::OutputConstraint* constraint, uint64_t seed, size_t most, std::string* text) {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < most; ++i) {
      if (absl::Status s = Await(*constraint); !s.ok()) {
        ADD_FAILURE() << s << " after '" << *text << "'";
        return false;
      }
      const std::vector<int32_t> ids = Allowed(*constraint);
      const int32_t id = ids[random() % ids.size()];
      if (id == kStop) return true;
      *text += TokenBytes(id);
      constraint->Advance(id);
    }
    return false;
  }

  std::unique_ptr<Grammars> grammars_;
};

TEST_F(GrammarsTest, WalksGiveWhatTheExpressionDescribes) {
  const std::string pattern = "(yes|no|[0-9]{2,4})(-[a-c]+)?";
  std::set<std::string> texts;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    auto constraint = Constrain(GrammarKind::kRegex, pattern);
    std::string text;
    if (!Walk(constraint.get(), seed, 60, &text)) continue;
    EXPECT_TRUE(std::regex_match(text, std::regex(pattern))) << text;
    texts.insert(text);
  }
  EXPECT_GT(texts.size(), 10u);
}

TEST_F(GrammarsTest, WalksGiveWhatTheSchemaDescribes) {
  const std::string schema =
      R"({"type":"object","properties":{"ok":{"type":"boolean"},"n":{"type":"integer"}},"required":["ok","n"],)"
      R"("additionalProperties":false})";
  const std::regex form(R"(\s*\{\s*"ok"\s*:\s*(true|false)\s*,\s*"n"\s*:\s*-?(0|[1-9][0-9]*)\s*\}\s*)");
  int ended = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    auto constraint = Constrain(GrammarKind::kJsonSchema, schema);
    std::string text;
    if (!Walk(constraint.get(), seed, 400, &text)) continue;
    ++ended;
    EXPECT_TRUE(std::regex_match(text, form)) << text;
  }
  EXPECT_GT(ended, 5);
}

TEST_F(GrammarsTest, AnEndOnlyWhereTheGrammarMayEnd) {
  auto constraint = Constrain(GrammarKind::kEbnf, R"(root ::= "no" | "now")");
  ASSERT_TRUE(Await(*constraint).ok());
  EXPECT_EQ(Allowed(*constraint), (std::vector<int32_t>{'n', 257})) << "as bytes or as a word";
  constraint->Advance(257);
  ASSERT_TRUE(Await(*constraint).ok());
  EXPECT_EQ(Allowed(*constraint), (std::vector<int32_t>{'w', kStop}));
  constraint->Advance('w');
  ASSERT_TRUE(Await(*constraint).ok());
  EXPECT_EQ(Allowed(*constraint), std::vector<int32_t>{kStop});
}

TEST_F(GrammarsTest, AnObjectIsAnObject) {
  auto constraint = Constrain(GrammarKind::kJsonObject, "");
  ASSERT_TRUE(Await(*constraint).ok());
  for (const int32_t id : Allowed(*constraint)) EXPECT_EQ(TokenBytes(id)[0], '{') << id;
}

TEST_F(GrammarsTest, WhatIsOutsideOfTheGrammarEndsTheRequest) {
  auto constraint = Constrain(GrammarKind::kEbnf, R"(root ::= "no")");
  ASSERT_TRUE(Await(*constraint).ok());
  constraint->Advance('x');
  EXPECT_TRUE(absl::IsInternal(Await(*constraint)));
}

TEST_F(GrammarsTest, BadSourcesAreTheSendersError) {
  const std::pair<GrammarKind, const char*> bad[] = {
      {GrammarKind::kRegex, "((("},
      {GrammarKind::kJsonSchema, "{{{"},
      {GrammarKind::kJsonSchema, R"({"type": 5})"},
      {GrammarKind::kEbnf, "root ::= nobody"},
      {GrammarKind::kStructuralTag, "[]"},
  };
  for (int round = 0; round < 2; ++round) {  // refusals are remembered
    for (const auto& [kind, text] : bad) {
      const absl::Status status = Await(*Constrain(kind, text));
      EXPECT_TRUE(absl::IsInvalidArgument(status)) << text << ": " << status;
      EXPECT_EQ(status.message().find("the_field cannot be compiled: "), 0u) << status;
      EXPECT_EQ(status.message().find(".cc:"), absl::string_view::npos) << status;
    }
  }
  EXPECT_TRUE(Await(*Constrain(GrammarKind::kRegex, "a")).ok());
}

// Takes the library far longer than anybody waits.
std::string SlowSchema() {
  std::string schema = R"({"type":"string"})";
  for (int i = 0; i < 1500; ++i) schema = absl::StrCat(R"({"type":"array","items":)", schema, "}");
  return schema;
}

TEST_F(GrammarsTest, ASlowSourceEndsItsRequestOnly) {
  GrammarOptions options;
  options.compile_timeout = absl::Seconds(1);
  Make(options);
  const absl::Status status = Await(*Constrain(GrammarKind::kJsonSchema, SlowSchema()));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(status.message(), "the_field takes more than 1s to compile.");
  EXPECT_TRUE(Await(*Constrain(GrammarKind::kRegex, "a")).ok()) << "another process compiles";
  const absl::Time start = absl::Now();
  EXPECT_TRUE(absl::IsResourceExhausted(Await(*Constrain(GrammarKind::kJsonSchema, SlowSchema()))));
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(900)) << "it is known to be slow";
}

TEST_F(GrammarsTest, TheEndWaitsForNoCompiler) {
  GrammarOptions options;
  options.compile_timeout = absl::Hours(24);
  Make(options);
  auto constraint = Constrain(GrammarKind::kJsonSchema, SlowSchema());
  absl::SleepFor(absl::Milliseconds(200));  // most likely it compiles by now
  EXPECT_FALSE(constraint->ready());
  grammars_.reset();
}

TEST_F(GrammarsTest, AGreedySourceEndsItsRequestOnly) {
  GrammarOptions options;
  options.compiler_memory_bytes = size_t{4} << 20;  // not enough for anything
  Make(options);
  const absl::Status status = Await(*Constrain(GrammarKind::kRegex, "a"));
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
}

TEST_F(GrammarsTest, ATenantWaitsWithSoManyOnly) {
  GrammarOptions options;
  options.compile_timeout = absl::Milliseconds(300);
  Make(options);
  std::vector<std::unique_ptr<request::OutputConstraint>> constraints;
  for (size_t i = 0; i < kPendingPerTenant; ++i) {
    constraints.push_back(Constrain(GrammarKind::kJsonSchema, SlowSchema() + std::string(i, ' '), "a"));
  }
  const auto refused = grammars_->Constrain("a", {GrammarKind::kRegex, "b", "f"}, {kStop}, kVocab);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_TRUE(grammars_->Constrain("b", {GrammarKind::kRegex, "b", "f"}, {kStop}, kVocab).ok());
}

TEST_F(GrammarsTest, WakesWhoWaitsAndNobodyElse) {
  absl::Notification woken;
  auto constraint = Constrain(GrammarKind::kRegex, "[ab]*");
  constraint->SetWake([&woken] {
    if (!woken.HasBeenNotified()) woken.Notify();
  });
  EXPECT_TRUE(constraint->ready() || woken.WaitForNotificationWithTimeout(absl::Minutes(1)));
  for (int i = 0; i < 200; ++i) {  // gone before its mask is there
    auto gone = Constrain(GrammarKind::kRegex, "[ab]*");
    gone->SetWake([] {});
    if (i % 2 == 0 && Await(*gone).ok()) gone->Advance('a');
  }
}

TEST_F(GrammarsTest, OldGrammarsMakeRoom) {
  GrammarOptions options;
  options.cache_bytes = 20'000;
  Make(options);
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(Await(*Constrain(GrammarKind::kRegex, absl::StrCat("a{", i, "}"))).ok());
  EXPECT_TRUE(Await(*Constrain(GrammarKind::kRegex, "a{1}")).ok());
}

}  // namespace
}  // namespace quire::grammar

int main(int argc, char** argv) {
  quire::grammar::RunCompilerIfAsked(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
