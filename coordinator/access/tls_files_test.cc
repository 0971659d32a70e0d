// Handshakes in memory against contexts made of files: versions, ciphers, client certificates, replaced files.
#include "coordinator/access/tls_files.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include <fstream>
#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "proto/testing/certificates.h"

namespace quire::access {
namespace {

using proto::Credential;
using proto::SwappedFiles;
using proto::TestCa;

constexpr char kServer[] = "DNS:localhost";
constexpr absl::Duration kPeriod = absl::Milliseconds(5);

std::string FreshDir() {
  std::string dir = ::testing::TempDir() + "/tls_files_XXXXXX";
  EXPECT_NE(mkdtemp(&dir[0]), nullptr);
  return dir;
}

struct Client {
  std::string trusts;             // PEM of a CA
  Credential own;                 // empty: none
  int most_version = 0;           // 0: the newest
  const char* ciphers = nullptr;  // of TLS 1.2
};

X509* ReadX509(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return certificate;
}

SSL_CTX* MakeClientContext(const Client& client) {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(context, 0);  // or the client itself would refuse what is old
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  X509* ca = ReadX509(client.trusts);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca);
  X509_free(ca);
  if (client.most_version != 0) {
    SSL_CTX_set_min_proto_version(context, 0);
    SSL_CTX_set_max_proto_version(context, client.most_version);
  }
  if (client.ciphers != nullptr) {
    EXPECT_EQ(SSL_CTX_set_cipher_list(context, client.ciphers), 1);
  }
  if (!client.own.key.empty()) {
    X509* own = ReadX509(client.own.certificate);
    BIO* bio = BIO_new_mem_buf(client.own.key.data(), static_cast<int>(client.own.key.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    SSL_CTX_use_certificate(context, own);
    SSL_CTX_use_PrivateKey(context, key);
    EVP_PKEY_free(key);
    BIO_free(bio);
    X509_free(own);
  }
  return context;
}

// The version that both sides end up with, empty if either refuses. In TLS 1.3 the server judges the client's
// certificate last, so it is the server that must be done.
std::string Handshake(const TlsContext& server, const Client& client) {
  const std::shared_ptr<SSL_CTX> server_context = server.Get();
  SSL_CTX* client_context = MakeClientContext(client);
  SSL* ends[2] = {SSL_new(client_context), SSL_new(server_context.get())};
  BIO* bios[2];
  EXPECT_EQ(BIO_new_bio_pair(&bios[0], 0, &bios[1], 0), 1);
  for (int i = 0; i < 2; ++i) SSL_set_bio(ends[i], bios[i], bios[i]);
  SSL_set_connect_state(ends[0]);
  SSL_set_accept_state(ends[1]);
  bool failed = false;
  for (int round = 0; round < 20 && !failed && !(SSL_is_init_finished(ends[0]) && SSL_is_init_finished(ends[1]));
       ++round) {
    for (SSL* end : ends) {
      const int result = SSL_do_handshake(end);
      failed = failed || (result != 1 && SSL_get_error(end, result) != SSL_ERROR_WANT_READ);
    }
  }
  const bool done = !failed && SSL_is_init_finished(ends[0]) && SSL_is_init_finished(ends[1]);
  std::string version = done ? SSL_get_version(ends[1]) : "";
  for (SSL* end : ends) SSL_free(end);
  SSL_CTX_free(client_context);
  ERR_clear_error();
  return version;
}

bool Await(const std::function<bool()>& condition) {
  for (int i = 0; i < 4000 && !condition(); ++i) absl::SleepFor(kPeriod);
  return condition();
}

class TlsContextTest : public ::testing::Test {
 protected:
  void Put(const Credential& own, const std::string& client_ca) {
    swapped_.Put({{"crt", own.certificate}, {"key", own.key}, {"ca", client_ca}});
  }
  std::unique_ptr<TlsContext> Open(bool client_certificates) {
    TlsFiles files = {swapped_.path("crt"), swapped_.path("key"), client_certificates ? swapped_.path("ca") : ""};
    auto context = TlsContext::Open(files, kPeriod);
    EXPECT_TRUE(context.ok()) << context.status();
    return *std::move(context);
  }
  const TestCa ca_{"servers"};
  const TestCa clients_{"clients"};
  SwappedFiles swapped_{FreshDir()};
};

TEST_F(TlsContextTest, NewVersionsAndStrongCiphersOnly) {
  Put(ca_.Issue(kServer), clients_.certificate());
  const auto server = Open(false);
  EXPECT_EQ(Handshake(*server, {ca_.certificate()}), "TLSv1.3");
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, TLS1_2_VERSION}), "TLSv1.2");
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, TLS1_1_VERSION}), "");
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, TLS1_VERSION}), "");
  // Without authenticated encryption: OpenSSL would speak it if it were not told otherwise.
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, TLS1_2_VERSION, "ECDHE-ECDSA-AES256-SHA384"}), "");
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"}), "TLSv1.2");
  EXPECT_EQ(Handshake(*server, {clients_.certificate()}), "") << "the client would not have known the server";
}

TEST_F(TlsContextTest, ACaOfClientsMeansACertificateFromEverybody) {
  Put(ca_.Issue(kServer), clients_.certificate());
  const auto server = Open(true);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    EXPECT_NE(Handshake(*server, {ca_.certificate(), clients_.Issue(""), version}), "");
    EXPECT_EQ(Handshake(*server, {ca_.certificate(), {}, version}), "") << "no certificate was let in";
    EXPECT_EQ(Handshake(*server, {ca_.certificate(), ca_.Issue(""), version}), "") << "another CA's was let in";
    EXPECT_EQ(Handshake(*server, {ca_.certificate(), clients_.Issue("", -absl::Hours(1)), version}), "") << "expired";
  }
}

TEST_F(TlsContextTest, ReplacedFilesCountAndBrokenOnesDoNot) {
  const TestCa next("servers");
  const TestCa next_clients("clients");
  Put(ca_.Issue(kServer), clients_.certificate());
  const auto server = Open(true);
  const std::shared_ptr<SSL_CTX> held = server->Get();  // as a connection holds it
  Put(next.Issue(kServer), next_clients.certificate());
  ASSERT_TRUE(Await([&] { return server->reloads() >= 1; }));
  EXPECT_NE(server->Get(), held);
  EXPECT_NE(Handshake(*server, {next.certificate(), next_clients.Issue("")}), "");
  EXPECT_EQ(Handshake(*server, {next.certificate(), clients_.Issue("")}), "") << "the old CA of clients still opens";
  EXPECT_EQ(Handshake(*server, {ca_.certificate(), next_clients.Issue("")}), "");

  const std::shared_ptr<SSL_CTX> before = server->Get();
  Put({next.Issue(kServer).certificate, ca_.Issue(kServer).key}, next_clients.certificate());
  ASSERT_TRUE(Await([&] { return server->failed_reloads() >= 1; }));
  Put({"", ""}, "");
  ASSERT_TRUE(Await([&] { return server->failed_reloads() >= 2; }));
  EXPECT_EQ(server->Get(), before);
  EXPECT_NE(Handshake(*server, {next.certificate(), next_clients.Issue("")}), "");
}

TEST_F(TlsContextTest, WhatCannotWorkIsSaidAtTheStart) {
  const std::string dir = FreshDir();
  const auto put = [&dir](const std::string& name, const std::string& content) {
    std::ofstream(dir + "/" + name) << content;
    return dir + "/" + name;
  };
  const Credential good = ca_.Issue(kServer);
  const Credential old = ca_.Issue(kServer, -absl::Hours(1));
  const std::string crt = put("crt", good.certificate), key = put("key", good.key);
  EXPECT_EQ(CheckTlsFiles({crt, key, ""}), absl::OkStatus());
  EXPECT_EQ(CheckTlsFiles({crt, key, put("ca", clients_.certificate())}), absl::OkStatus());
  const struct {
    TlsFiles files;
    std::string fault;
  } cases[] = {{{crt, "", ""}, "--ssl_certfile and --ssl_keyfile go together"},
               {{"", key, ""}, "--ssl_certfile and --ssl_keyfile go together"},
               {{"", "", crt}, "--ssl_ca_certs needs both"},
               {{crt, put("other", old.key), ""}, "other: is not the key of the certificate in " + crt},
               {{put("old", old.certificate), dir + "/other", ""}, "old: the certificate has expired at"},
               {{crt, key, dir + "/none"}, "none: No such file"},
               {{crt, key, key}, "key: has no certificate"}};
  for (const auto& c : cases) {
    EXPECT_TRUE(c.files.enabled());
    const absl::Status status = TlsContext::Open(c.files).status();
    EXPECT_FALSE(status.ok()) << c.fault;
    EXPECT_TRUE(absl::StrContains(status.message(), c.fault)) << c.fault << "\nwas: " << status;
  }
}

}  // namespace
}  // namespace quire::access
