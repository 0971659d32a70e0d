// What lines mean, what is wrong with bad ones, and that keys fit their lines.
#include "coordinator/access/key_file.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace quire::access {
namespace {

const std::string kId = "0123456789abcdef";
const std::string kHash = std::string(32, 'a') + ":" + std::string(64, 'b');

std::string Line(const std::string& rest) { return absl::StrCat("id=", kId, " hash=", kHash, " ", rest, "\n"); }

std::string FaultOf(const std::string& text) { return std::string(ParseKeyFile(text).status().message()); }

TEST(ParseKeyFileTest, ALineWithTheLeastMeansTheDefaults) {
  const auto table = ParseKeyFile(Line("tenant=acme"));
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_EQ(table->size(), 1u);
  const KeyEntry& entry = table->at(kId);
  EXPECT_EQ(entry.caller.tenant, "acme");
  EXPECT_EQ(entry.caller.weight, 1);
  EXPECT_EQ(entry.caller.max_live_requests, 0);
  EXPECT_EQ(entry.caller.max_choices, 0u);
  EXPECT_EQ(entry.caller.max_tokens, 0);
  EXPECT_EQ(entry.caller.tenant_class, "default");
  EXPECT_EQ(entry.salt[0], 0xaa);
  EXPECT_EQ(entry.digest[31], 0xbb);
}

TEST(ParseKeyFileTest, EveryWordCountsInAnyOrderAndCommentsDoNot) {
  const auto table =
      ParseKeyFile(absl::StrCat("# who may call\r\n\n\t", "max_tokens=7 class=paid weight=0.5 tenant=a.b ",
                                "max_choices=3 max_live_requests=9 hash=", kHash, " id=", kId, "  # of the lab\r\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  const Caller& caller = table->at(kId).caller;
  EXPECT_EQ(caller.tenant, "a.b");
  EXPECT_EQ(caller.weight, 0.5);
  EXPECT_EQ(caller.max_live_requests, 9);
  EXPECT_EQ(caller.max_choices, 3u);
  EXPECT_EQ(caller.max_tokens, 7);
  EXPECT_EQ(caller.tenant_class, "paid");
}

TEST(ParseKeyFileTest, FaultsNameTheLineAndTheWord) {
  const struct {
    std::string text;
    std::string fault;
  } cases[] = {
      {"", "has no key in it"},
      {"# nothing\n\n", "has no key in it"},
      {"\n\n" + Line(""), "line 3 has no 'tenant'"},
      {"id=" + kId + " tenant=a", "line 1 has no 'hash'"},
      {"hash=" + kHash + " tenant=a", "line 1 has no 'id'"},
      {"id=short hash=" + kHash + " tenant=a", "line 1 'id' must be 16 digits"},
      {"id=0123456789ABCDEF hash=" + kHash + " tenant=a", "line 1 'id' must be"},
      {"id=" + kId + " hash=" + std::string(64, 'b') + " tenant=a", "line 1 'hash' must be a salt"},
      {"id=" + kId + " hash=" + kHash + "0 tenant=a", "line 1 'hash' must be a salt"},
      {Line("tenant="), "'tenant' must be 1 to 64"},
      {Line("tenant=a/b"), "'tenant' must be 1 to 64"},
      {Line("tenant=" + std::string(65, 'x')), "'tenant' must be 1 to 64"},
      {Line("tenant=a tenant=b"), "has 'tenant' twice"},
      {Line("tenant=a class=\x01"), "'class' must be"},
      {Line("tenant=a weight=0"), "'weight' must be from 0.001 to 1000, got '0'"},
      {Line("tenant=a weight=-1"), "'weight' must be"},
      {Line("tenant=a weight=nan"), "'weight' must be"},
      {Line("tenant=a weight=inf"), "'weight' must be"},
      {Line("tenant=a weight=1000.5"), "'weight' must be"},
      {Line("tenant=a max_live_requests=0"), "'max_live_requests' must be a number from 1"},
      {Line("tenant=a max_live_requests=-3"), "'max_live_requests' must be"},
      {Line("tenant=a max_choices=65536"), "'max_choices' must be a number from 1 to 65535"},
      {Line("tenant=a max_tokens=99999999999999999999"), "'max_tokens' must be"},
      {Line("tenant=a max_tokens=1.5"), "'max_tokens' must be"},
      {Line("tenant=a limit=3"), "'limit' is none of"},
      {Line("tenant=a " + std::string(1100, 'x')), "has more than 1024 bytes"},
      {Line("tenant=a") + Line("tenant=a"), "line 2 repeats id 0123456789abcdef"},
      {std::string(kKeyFileBytesMax + 1, ' '), "bytes, more than"},
  };
  for (const auto& c : cases) {
    const absl::Status status = ParseKeyFile(c.text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << c.fault;
    EXPECT_TRUE(absl::StrContains(status.message(), c.fault)) << c.fault << "\nwas: " << status.message();
  }
}

TEST(ParseKeyFileTest, ASecretThatWasPastedIsNotRepeatedInTheError) {
  const std::string secret = "qk-0123456789abcdef-" + std::string(64, '7');
  for (const std::string& text : {secret, Line("tenant=a " + secret), "id=" + secret, Line("tenant=" + secret)}) {
    const std::string fault = FaultOf(text);
    EXPECT_FALSE(fault.empty());
    EXPECT_FALSE(absl::StrContains(fault, "7777")) << fault;
  }
}

TEST(ParseKeyFileTest, KeysOfATenantAgree) {
  const auto second = [](const std::string& rest) {
    return absl::StrCat("id=", std::string(16, '1'), " hash=", kHash, " ", rest, "\n");
  };
  EXPECT_EQ(ParseKeyFile(Line("tenant=a weight=2") + second("weight=2 tenant=a"))->size(), 2u);
  EXPECT_EQ(ParseKeyFile(Line("tenant=a weight=2") + second("tenant=b"))->size(), 2u);
  EXPECT_TRUE(absl::StrContains(FaultOf(Line("tenant=a weight=2") + second("tenant=a")),
                                "line 2 says other things of tenant 'a' than line 1"));
}

TEST(ParseKeyFileTest, KeysAndClassesAreBounded) {
  std::string many;
  const auto add = [&many](size_t i, const std::string& rest) {
    absl::StrAppend(&many, "id=", absl::Hex(i, absl::kZeroPad16), " hash=", kHash, " ", rest, "\n");
  };
  for (size_t i = 0; i < kKeysMax; ++i) add(i, "tenant=t");
  EXPECT_EQ(ParseKeyFile(many)->size(), kKeysMax);
  add(kKeysMax, "tenant=t");
  EXPECT_TRUE(absl::StrContains(FaultOf(many), "line 10001 brings a key beyond the 10000 allowed"));
  many.clear();
  for (size_t i = 0; i < kClassesMax; ++i) add(i, absl::StrCat("tenant=t", i, " class=c", i));
  EXPECT_TRUE(ParseKeyFile(many).ok());
  add(kClassesMax, "tenant=last class=last");
  EXPECT_TRUE(absl::StrContains(FaultOf(many), "brings a class beyond the 16"));
}

TEST(MakeKeyTest, TheLineHoldsTheCallerAndOnlyTheDigestOfTheKey) {
  Caller caller;
  caller.tenant = "acme";
  caller.weight = 2.5;
  caller.max_live_requests = 64;
  caller.max_choices = 4;
  caller.max_tokens = 2048;
  caller.tenant_class = "paid";
  const auto made = MakeKey(caller);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto key = ParseKey(made->key);
  ASSERT_TRUE(key.ok());
  EXPECT_FALSE(absl::StrContains(made->line, key->secret));
  const auto table = ParseKeyFile(made->line);
  ASSERT_TRUE(table.ok()) << table.status();
  const KeyEntry& entry = table->at(key->id);
  EXPECT_EQ(entry.digest, HashSecret(entry.salt, key->secret));
  EXPECT_EQ(entry.caller.tenant, "acme");
  EXPECT_EQ(entry.caller.weight, 2.5);
  EXPECT_EQ(entry.caller.max_live_requests, 64);
  EXPECT_EQ(entry.caller.max_choices, 4u);
  EXPECT_EQ(entry.caller.max_tokens, 2048);
  EXPECT_EQ(entry.caller.tenant_class, "paid");
  EXPECT_NE(MakeKey(caller)->key, made->key);
  caller.tenant = "two words";
  EXPECT_EQ(MakeKey(caller).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ParseKeyTest, OnlyWholeKeysAndNoWordOfOthers) {
  const std::string good = "qk-0123456789abcdef-" + std::string(64, '0');
  EXPECT_TRUE(ParseKey(good).ok());
  for (const std::string& bad :
       {std::string(), std::string("qk-"), good.substr(1), good.substr(0, good.size() - 1), good + "0",
        "QK" + good.substr(2), absl::StrReplaceAll(good, {{"f-", "f_"}}), absl::StrReplaceAll(good, {{"9", "g"}}),
        std::string("qk-0123456789abcdef-") + std::string(64, '\0'), std::string(1 << 20, 'q')}) {
    const absl::Status status = ParseKey(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "not a key of this server's kind");
  }
}

}  // namespace
}  // namespace quire::access
