#include "coordinator/access/exposure.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"

namespace quire::access {
namespace {

Exposure At(const char* host) {
  Exposure exposure;
  exposure.host = host;
  return exposure;
}

TEST(CheckExposureTest, StrangersAreServedOnlyOnLoopbackOrByName) {
  for (const char* host : {"127.0.0.1", "::1", "localhost"}) EXPECT_TRUE(CheckExposure(At(host)).ok()) << host;
  for (const char* host : {"0.0.0.0", "::", "", "10.1.2.3", "quire.example.org"}) {
    Exposure exposure = At(host);
    const absl::Status refused = CheckExposure(exposure);
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << host;
    for (const char* way : {"--api_key_file", "--ssl_ca_certs", "--host=127.0.0.1", "--allow_unauthenticated"}) {
      EXPECT_TRUE(absl::StrContains(refused.message(), way)) << refused;
    }
    exposure.tls = true;  // hides what is said, not who says it
    EXPECT_FALSE(CheckExposure(exposure).ok()) << host;
    for (bool Exposure::*way : {&Exposure::keys, &Exposure::client_certificates, &Exposure::allow_unauthenticated}) {
      Exposure known = At(host);
      known.*way = true;
      EXPECT_TRUE(CheckExposure(known).ok()) << host;
    }
  }
}

TEST(DescribeExposureTest, SaysWhatIsOpen) {
  Exposure exposure = At("127.0.0.1");
  EXPECT_EQ(DescribeExposure(exposure), "clear text, no keys, this machine only");
  exposure.host = "0.0.0.0";
  exposure.allow_unauthenticated = true;
  EXPECT_EQ(DescribeExposure(exposure), "clear text, no keys: OPEN TO WHOEVER REACHES THIS ADDRESS");
  exposure.keys = true;
  EXPECT_TRUE(absl::StrContains(DescribeExposure(exposure), "clear text, API keys: whoever can listen in"));
  exposure.tls = true;
  EXPECT_EQ(DescribeExposure(exposure), "TLS, API keys");
  exposure.keys = false;
  EXPECT_EQ(DescribeExposure(exposure), "TLS, no keys: OPEN TO WHOEVER REACHES THIS ADDRESS");
  exposure.client_certificates = true;
  EXPECT_EQ(DescribeExposure(exposure), "TLS with client certificates, no keys");
}

}  // namespace
}  // namespace quire::access
