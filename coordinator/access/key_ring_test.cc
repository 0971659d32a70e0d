// Who gets in, who does not, and what a replaced file changes (R1 to R3).
#include "coordinator/access/key_ring.h"

#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace quire::access {
namespace {

constexpr absl::Duration kPeriod = absl::Milliseconds(5);

std::string FreshDir() {
  std::string dir = ::testing::TempDir() + "/key_ring_XXXXXX";
  EXPECT_NE(mkdtemp(&dir[0]), nullptr);
  return dir;
}

NewKey KeyOf(const std::string& tenant) {
  Caller caller;
  caller.tenant = tenant;
  return *MakeKey(caller);
}

void Replace(const std::string& path, const std::string& content) {
  std::ofstream(path + ".part") << content;
  ASSERT_EQ(rename((path + ".part").c_str(), path.c_str()), 0);
}

bool Await(const std::function<bool()>& condition) {
  for (int i = 0; i < 4000 && !condition(); ++i) absl::SleepFor(kPeriod);
  return condition();
}

std::string TenantOf(const KeyRing& ring, const std::string& key) {
  const auto caller = ring.Authenticate("Bearer " + key);
  return caller.ok() ? caller->tenant : std::string(caller.status().message());
}

TEST(KeyRingTest, OnlyAKeyOfTheFileOpens) {
  const std::string path = FreshDir() + "/keys";
  const NewKey a = KeyOf("a");
  const NewKey b = KeyOf("b");
  const NewKey stranger = KeyOf("c");
  Replace(path, a.line + "\n" + b.line);
  const auto ring = KeyRing::Open(path);
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_EQ((*ring)->num_keys(), 2u);
  EXPECT_EQ(TenantOf(**ring, a.key), "a");
  EXPECT_EQ(TenantOf(**ring, b.key), "b");
  for (const char* scheme : {"bearer ", "BEARER ", "Bearer   "}) {
    EXPECT_TRUE((*ring)->Authenticate(scheme + a.key).ok()) << scheme;
  }
  EXPECT_EQ((*ring)->counts().refused, 0u);
  std::string other_secret = a.key;
  other_secret.back() = other_secret.back() == '0' ? '1' : '0';
  const std::string crossed = a.key.substr(0, 20) + b.key.substr(20);  // the id of one, the secret of another
  const std::vector<std::string> refused = {"",
                                            "Bearer",
                                            "Bearer ",
                                            a.key,
                                            "Basic " + a.key,
                                            "Bearer" + a.key,
                                            "Bearer " + a.key + " x",
                                            "Bearer " + stranger.key,
                                            "Bearer " + other_secret,
                                            "Bearer " + crossed,
                                            "Bearer " + absl::AsciiStrToUpper(a.key),
                                            std::string(1 << 20, 'B')};
  for (const std::string& value : refused) {
    const absl::Status status = (*ring)->Authenticate(value).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnauthenticated) << value.substr(0, 120);
    EXPECT_FALSE(absl::StrContains(status.message(), "qk-")) << status;
  }
  EXPECT_EQ((*ring)->counts().refused, refused.size());
  // An id that exists and one that does not look the same from outside.
  EXPECT_EQ((*ring)->Authenticate("Bearer " + stranger.key).status(),
            (*ring)->Authenticate("Bearer " + crossed).status());
}

// An id nobody has is compared with the digest of nobody; its all-zero digest must not be a way in.
TEST(KeyRingTest, TheDigestOfNobodyOpensNothing) {
  const std::string path = FreshDir() + "/keys";
  const NewKey a = KeyOf("a");
  Replace(path,
          "id=" + ParseKey(a.key)->id + " hash=" + std::string(32, '0') + ":" + std::string(64, '0') + " tenant=zero");
  const auto ring = KeyRing::Open(path);
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_FALSE((*ring)->Authenticate("Bearer " + a.key).ok());
}

TEST(KeyRingTest, AReplacedFileCountsAndABrokenOneDoesNot) {
  const std::string path = FreshDir() + "/keys";
  const NewKey a = KeyOf("a");
  const NewKey b = KeyOf("b");
  Replace(path, a.line);
  const auto opened = KeyRing::Open(path, kPeriod);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const KeyRing& ring = **opened;
  Replace(path, b.line);
  ASSERT_TRUE(Await([&] { return ring.counts().reloads >= 1; }));
  EXPECT_EQ(TenantOf(ring, b.key), "b");
  EXPECT_FALSE(ring.Authenticate("Bearer " + a.key).ok()) << "a key that is gone still opens";

  Replace(path, a.line + "\nnot a line");
  ASSERT_TRUE(Await([&] { return ring.counts().failed_reloads >= 1; }));
  EXPECT_EQ(TenantOf(ring, b.key), "b");
  EXPECT_FALSE(ring.Authenticate("Bearer " + a.key).ok());
  ASSERT_EQ(unlink(path.c_str()), 0);
  ASSERT_TRUE(Await([&] { return ring.counts().failed_reloads >= 2; }));
  EXPECT_EQ(TenantOf(ring, b.key), "b");
  EXPECT_EQ(ring.counts().reloads, 1u);

  Replace(path, a.line + "\n" + b.line);
  ASSERT_TRUE(Await([&] { return ring.counts().reloads >= 2; }));
  EXPECT_EQ(TenantOf(ring, a.key), "a");
  EXPECT_EQ(TenantOf(ring, b.key), "b");
}

// As mounted Secrets change: keys -> ..data/keys, ..data -> a directory that is replaced whole.
TEST(KeyRingTest, ASwappedSymbolicLinkAboveTheFileIsNoticed) {
  const std::string dir = FreshDir();
  const NewKey a = KeyOf("a");
  const NewKey b = KeyOf("b");
  for (const char* version : {"/v1", "/v2"}) ASSERT_EQ(mkdir((dir + version).c_str(), 0700), 0);
  std::ofstream(dir + "/v1/keys") << a.line;
  std::ofstream(dir + "/v2/keys") << b.line;
  ASSERT_EQ(symlink("v1", (dir + "/..data").c_str()), 0);
  ASSERT_EQ(symlink("..data/keys", (dir + "/keys").c_str()), 0);
  const auto ring = KeyRing::Open(dir + "/keys", kPeriod);
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_EQ(TenantOf(**ring, a.key), "a");
  ASSERT_EQ(symlink("v2", (dir + "/..tmp").c_str()), 0);
  ASSERT_EQ(rename((dir + "/..tmp").c_str(), (dir + "/..data").c_str()), 0);
  ASSERT_TRUE(Await([&] { return (*ring)->counts().reloads >= 1; }));
  EXPECT_EQ(TenantOf(**ring, b.key), "b");
  EXPECT_FALSE((*ring)->Authenticate("Bearer " + a.key).ok());
}

TEST(KeyRingTest, CallersSeeOneFileOrTheOtherWhileItChanges) {
  const std::string path = FreshDir() + "/keys";
  const NewKey a = KeyOf("a");
  const NewKey b = KeyOf("b");
  Replace(path, a.line);
  const auto ring = KeyRing::Open(path, absl::Milliseconds(1));
  ASSERT_TRUE(ring.ok());
  std::atomic<bool> stop{false};
  std::vector<std::thread> callers;
  for (int t = 0; t < 2; ++t) {
    callers.emplace_back([&] {
      while (!stop.load()) {
        const std::string of_a = TenantOf(**ring, a.key);
        EXPECT_TRUE(of_a == "a" || absl::StrContains(of_a, "not valid")) << of_a;
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const uint64_t before = (*ring)->counts().reloads;
    Replace(path, (i % 2 == 0 ? b : a).line);
    ASSERT_TRUE(Await([&] { return (*ring)->counts().reloads > before; }));
    EXPECT_EQ((*ring)->Authenticate("Bearer " + a.key).ok(), i % 2 == 1);
  }
  stop = true;
  for (std::thread& caller : callers) caller.join();
}

TEST(KeyRingTest, AFileThatCannotBeUsedAtTheStartIsAnErrorWithItsPath) {
  const std::string dir = FreshDir();
  const absl::Status missing = KeyRing::Open(dir + "/none").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(absl::StrContains(missing.message(), "/none: No such file")) << missing;
  Replace(dir + "/bad", "tenant=a\n");
  const absl::Status bad = KeyRing::Open(dir + "/bad").status();
  EXPECT_EQ(bad.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(bad.message(), "/bad: line 1 has no 'id'")) << bad;
  EXPECT_EQ(KeyRing::Open(dir).status().code(), absl::StatusCode::kFailedPrecondition);  // a directory
  Replace(dir + "/long", std::string(kKeyFileBytesMax + 1, '#'));
  EXPECT_EQ(KeyRing::Open(dir + "/long").status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace quire::access
