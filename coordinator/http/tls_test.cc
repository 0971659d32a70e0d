// The HTTP server behind TLS: answers and streams, clients without it or without a certificate, files that are replaced.
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/http/http_client.h"
#include "coordinator/http/server.h"
#include "proto/testing/certificates.h"

namespace quire::http {
namespace {

constexpr char kNames[] = "DNS:localhost,IP:127.0.0.1";

// Sends `request` over TLS and returns all that comes until the server closes; empty if there is no connection.
std::string AskOverTls(int port, const std::string& request, const std::string& ca,
                       const proto::Credential* own = nullptr) {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  const auto read_certificate = [](const std::string& pem) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    return certificate;
  };
  X509* root = read_certificate(ca);
  X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), root);
  X509_free(root);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (own != nullptr) {
    X509* certificate = read_certificate(own->certificate);
    SSL_CTX_use_certificate(context.get(), certificate);
    X509_free(certificate);
    BIO* bio = BIO_new_mem_buf(own->key.data(), static_cast<int>(own->key.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    SSL_CTX_use_PrivateKey(context.get(), key);
    EVP_PKEY_free(key);
  }
  const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new_ssl_connect(context.get()), BIO_free_all);
  SSL* ssl = nullptr;
  BIO_get_ssl(bio.get(), &ssl);
  X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), "127.0.0.1");
  BIO_set_conn_hostname(bio.get(), absl::StrCat("127.0.0.1:", port).c_str());
  std::string answer;
  if (BIO_do_connect(bio.get()) <= 0) return answer;
  BIO_write(bio.get(), request.data(), static_cast<int>(request.size()));
  char buffer[4096];
  for (int n = 0; (n = BIO_read(bio.get(), buffer, sizeof(buffer))) > 0;) answer.append(buffer, static_cast<size_t>(n));
  return answer;
}

class TlsTest : public ::testing::Test {
 protected:
  void Start(bool client_certificates) {
    const std::string dir = absl::StrCat(testing::TempDir(), "/http_tls_", getpid());
    std::filesystem::remove_all(dir);
    std::filesystem::create_directories(dir);
    files_ = std::make_unique<proto::SwappedFiles>(dir);
    Put(ca_);
    HttpServerOptions options;
    options.port = 0;
    options.tls = {files_->path("tls.crt"), files_->path("tls.key"), client_certificates ? files_->path("ca.crt") : ""};
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(
        options,
        {{"GET", "/hello", AuthPolicy::kOpen,
          [](const std::shared_ptr<Exchange>& e) { e->Reply(200, "text/plain", std::string(200'000, 'x') + "hello"); }},
         {"GET", "/events", AuthPolicy::kOpen,
          [](const std::shared_ptr<Exchange>& e) {
            e->StartEvents();
            e->WriteEvents("data: 1\n\n", [e](bool) { e->WriteEvents("data: 2\n\n", [e](bool) { e->End(); }); });
          }}},
        nullptr);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void Put(const proto::TestCa& ca) {
    const proto::Credential own = ca.Issue(kNames);
    files_->Put({{"tls.crt", own.certificate}, {"tls.key", own.key}, {"ca.crt", ca.certificate()}});
  }

  const std::string hello_ = Get("/hello", "Connection: close\r\n");
  const proto::TestCa ca_{"first"};
  std::unique_ptr<proto::SwappedFiles> files_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(TlsTest, AnswersAndStreamsComeWhole) {
  Start(/*client_certificates=*/false);
  const std::string answer = AskOverTls(server_->port(), hello_, ca_.certificate());
  EXPECT_TRUE(absl::StartsWith(answer, "HTTP/1.1 200 OK\r\n")) << answer.substr(0, 200);
  EXPECT_TRUE(absl::EndsWith(answer, "xhello"));
  const std::string events = AskOverTls(server_->port(), Get("/events", "Connection: close\r\n"), ca_.certificate());
  EXPECT_TRUE(absl::StrContains(events, "data: 1\n\n")) << events;
  EXPECT_TRUE(absl::EndsWith(events, "data: 2\n\n\r\n0\r\n\r\n")) << events;
}

TEST_F(TlsTest, NobodyIsAnsweredInClear) {
  Start(/*client_certificates=*/false);
  HttpClient clear(server_->port());
  EXPECT_EQ(clear.Ask(hello_).status, 0);
  EXPECT_EQ(AskOverTls(server_->port(), hello_, proto::TestCa("another").certificate()), "");
  EXPECT_NE(AskOverTls(server_->port(), hello_, ca_.certificate()), "");
}

TEST_F(TlsTest, WithACaOfClientsOnlyItsCertificatesGetIn) {
  Start(/*client_certificates=*/true);
  const proto::Credential own = ca_.Issue("DNS:client"), alien = proto::TestCa("another").Issue("DNS:client");
  EXPECT_EQ(AskOverTls(server_->port(), hello_, ca_.certificate()), "");
  EXPECT_EQ(AskOverTls(server_->port(), hello_, ca_.certificate(), &alien), "");
  EXPECT_NE(AskOverTls(server_->port(), hello_, ca_.certificate(), &own), "");
}

TEST_F(TlsTest, ReplacedFilesAreUsed) {
  Start(/*client_certificates=*/false);
  const proto::TestCa second("second");
  EXPECT_EQ(AskOverTls(server_->port(), hello_, second.certificate()), "");
  Put(second);
  const absl::Time end = absl::Now() + absl::Seconds(30);
  while (AskOverTls(server_->port(), hello_, second.certificate()).empty() && absl::Now() < end) {
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_NE(AskOverTls(server_->port(), hello_, second.certificate()), "");
  EXPECT_EQ(AskOverTls(server_->port(), hello_, ca_.certificate()), "");
}

}  // namespace
}  // namespace quire::http
