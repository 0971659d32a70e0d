#include "proto/loopback.h"

#include <gtest/gtest.h>

namespace quire::proto {
namespace {

TEST(IsLoopbackHostTest, OnlyWhatThisMachineAloneReaches) {
  for (const char* host : {"127.0.0.1", "127.255.1.2", "::1", "[::1]", "0:0:0:0:0:0:0:1", "localhost"}) {
    EXPECT_TRUE(IsLoopbackHost(host)) << host;
  }
  for (const char* host :
       {"", "0.0.0.0", "::", "[::]", "10.0.0.2", "128.0.0.1", "127.example.org", "127.0.0.1.example.org",
        "localhost.example.org", "127.1", "[127.0.0.1", "::ffff:10.0.0.1", "fe80::1", "*"}) {
    EXPECT_FALSE(IsLoopbackHost(host)) << host;
  }
}

}  // namespace
}  // namespace quire::proto
