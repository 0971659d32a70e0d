// Who gets in at the HTTP edge: every route against every kind of key, paths that try to slip past, and TLS. A route
// without a row fails the test.
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>

#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/access/key_ring.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/ascii_tokenizer.h"
#include "coordinator/frontend/sim_worker_group.h"
#include "coordinator/http/endpoints.h"
#include "coordinator/http/http_client.h"
#include "coordinator/http/server.h"
#include "proto/testing/certificates.h"

namespace quire::http {
namespace {

using nlohmann::json;

constexpr absl::Duration kPatience = absl::Seconds(30);

std::string FreshDir() {
  std::string dir = ::testing::TempDir() + "/surface_XXXXXX";
  EXPECT_NE(mkdtemp(&dir[0]), nullptr);
  return dir;
}

access::NewKey KeyOf(const std::string& tenant) {
  access::Caller caller;
  caller.tenant = tenant;
  return *access::MakeKey(caller);
}

class SurfaceTest : public ::testing::Test {
 protected:
  SurfaceTest() {
    signal(SIGPIPE, SIG_IGN);
    frontend::SimWorkerGroupOptions group_options;
    group_options.step_time = absl::Milliseconds(1);  // streams last long enough to see them live
    group_ = std::make_unique<frontend::SimWorkerGroup>(group_options);
    engine_ =
        std::make_unique<engine::Replicas>(engine::EngineOptions(), std::vector<cluster::WorkerGroup*>{group_.get()});
    EXPECT_TRUE(engine_->WaitUntilFormed(kPatience).ok());
    frontend::ApiOptions options;
    options.served_model_name = "sim";
    options.version = "1.2.3";
    api_ = std::make_unique<frontend::Api>(options, engine_.get(), frontend::AsciiTokenizer(testing::TempDir()));
    const std::string path = FreshDir() + "/keys";
    std::ofstream(path) << acme_.line << "\n" << other_.line << "\n";
    keys_ = *access::KeyRing::Open(path);
  }
  ~SurfaceTest() override {
    group_->Release();
    engine_->Stop(absl::ZeroDuration());
  }

  void Start(const HttpServerOptions& base, AuthPolicy metrics = AuthPolicy::kKey) {
    HttpServerOptions options = base;
    options.port = 0;
    auto server = HttpServer::Start(options, ApiRoutes(api_.get(), metrics), keys_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  int StatusOf(const std::string& request) { return HttpClient(server_->port()).Ask(request).status; }

  const access::NewKey acme_ = KeyOf("acme");
  const access::NewKey other_ = KeyOf("other");
  std::shared_ptr<const access::KeyRing> keys_;
  std::unique_ptr<frontend::SimWorkerGroup> group_;
  std::unique_ptr<engine::Replicas> engine_;
  std::unique_ptr<frontend::Api> api_;
  std::unique_ptr<HttpServer> server_;
};

std::string Bearer(const std::string& key) { return absl::StrCat("Authorization: Bearer ", key, "\r\n"); }

struct Row {
  bool open;         // to everybody
  int status;        // for whoever may
  std::string path;  // that is asked for; empty: the route's
  std::string body;
};

// By method and path of the route.
std::map<std::string, Row> Rows() {
  const std::string completion = json{{"prompt", {3, 4, 5}}, {"max_tokens", 2}}.dump();
  const std::string chat = json{{"messages", {{{"role", "user"}, {"content", "a"}}}}, {"max_tokens", 2}}.dump();
  return {
      {"GET /health", {true, 200, "", ""}},
      {"GET /ping", {true, 200, "", ""}},
      {"GET /ready", {true, 200, "", ""}},
      {"GET /version", {true, 200, "", ""}},
      {"GET /", {true, 200, "", ""}},
      {"GET /metrics", {false, 404, "", ""}},  // this API has none
      {"GET /status", {false, 200, "", ""}},
      {"GET /load", {false, 200, "", ""}},
      {"GET /v1/models", {false, 200, "", ""}},
      {"GET /v1/models/", {false, 200, "/v1/models/sim", ""}},
      {"POST /v1/completions", {false, 200, "", completion}},
      {"POST /v1/chat/completions", {false, 400, "", chat}},  // this model has no template
      {"POST /tokenize", {false, 200, "", R"({"prompt": "a"})"}},
      {"POST /detokenize", {false, 200, "", R"({"tokens": [3]})"}},
  };
}

TEST_F(SurfaceTest, EveryRouteNeedsAKeyUnlessItIsDeclaredOpen) {
  Start(HttpServerOptions());
  const access::NewKey stranger = KeyOf("acme");  // a good key of another server
  const struct {
    const char* name;
    std::string headers;
    bool enters;
  } callers[] = {
      {"no key", "", false},
      {"an empty value", "Authorization:\r\n", false},
      {"another scheme", absl::StrCat("Authorization: Basic ", acme_.key, "\r\n"), false},
      {"no scheme", absl::StrCat("Authorization: ", acme_.key, "\r\n"), false},
      {"an unknown key", Bearer(stranger.key), false},
      {"a cut key", Bearer(acme_.key.substr(0, acme_.key.size() - 1)), false},
      {"two keys", Bearer(acme_.key) + Bearer(acme_.key), false},
      {"a long value", Bearer(std::string(4096, 'a')), false},
      {"another header", absl::StrCat("X-Api-Key: ", acme_.key, "\r\nCookie: Authorization=", acme_.key, "\r\n"),
       false},
      {"the key", Bearer(acme_.key), true},
      {"the key of another tenant", Bearer(other_.key), true},
  };
  const std::map<std::string, Row> rows = Rows();
  std::set<std::string> seen;
  for (const Route& route : ApiRoutes(api_.get())) {
    const std::string name = absl::StrCat(route.method, " ", route.path);
    const auto row = rows.find(name);
    ASSERT_NE(row, rows.end()) << "route " << name << " has no row here: say whether it is open";
    seen.insert(name);
    const std::string path = row->second.path.empty() ? route.path : row->second.path;
    for (const auto& caller : callers) {
      const std::string request =
          route.method == "GET" ? Get(path, caller.headers) : Post(path, row->second.body, caller.headers);
      const Response response = HttpClient(server_->port()).Ask(request);
      const bool enters = caller.enters || row->second.open;
      EXPECT_EQ(response.status, enters ? row->second.status : 401) << name << " with " << caller.name << "\n"
                                                                    << response.body;
      if (enters) continue;
      EXPECT_EQ(response.headers.count("www-authenticate"), 1u) << name;
      EXPECT_EQ(json::parse(response.body)["error"]["code"], "invalid_api_key") << name << " with " << caller.name;
    }
  }
  EXPECT_EQ(seen.size(), rows.size()) << "a row is about a route that does not exist";
}

TEST_F(SurfaceTest, MetricsAreOpenIfThatIsSaid) {
  Start(HttpServerOptions(), AuthPolicy::kOpen);
  EXPECT_EQ(StatusOf(Get("/metrics")), 404);  // let in; this API has none
  EXPECT_EQ(StatusOf(Get("/status")), 401);
}

TEST_F(SurfaceTest, NoWayAroundThePathsPolicy) {
  Start(HttpServerOptions());
  const std::string body = Rows().at("POST /v1/completions").body;
  for (const char* path : {"//v1/models", "/v1//models", "/./v1/models", "/health/../v1/models", "/v1/models?key=1",
                           "/%761/models", "/v1%2fmodels", "/V1/MODELS", "/v1/models/", "/v1/models/sim",
                           "/v1/models/../models", "/health/", "/health/v1/models", "/load%00", "/load;x", "/metrics/",
                           "http://localhost/v1/models", "http://user@localhost/v1/models"}) {
    const int status = StatusOf(Get(path));
    EXPECT_TRUE(status == 401 || status == 404 || status == 400) << path << " is " << status;
  }
  for (const char* path :
       {"/v1/completions", "/v1/completions?", "//v1/completions", "/V1/completions", "/v1/%63ompletions"}) {
    const int status = StatusOf(Post(path, body));
    EXPECT_TRUE(status == 401 || status == 404) << path << " is " << status;
  }
  for (const char* method : {"PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "X"}) {
    const std::string request = absl::StrCat(method, " /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
    const int status = HttpClient(server_->port()).Ask(request).status;
    EXPECT_TRUE(status == 405 || status == 400) << method << " is " << status;
  }
  // What a browser asks beforehand tells nothing but methods.
  const Response preflight = HttpClient(server_->port()).Ask("OPTIONS /v1/completions HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.headers.count("access-control-allow-origin"), 0u);
}

// One request over TLS, answered or refused; the connection stays for more.
class TlsClient {
 public:
  TlsClient(int port, const proto::TestCa& trusts, const proto::Credential& own = {})
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_verify(context_, SSL_VERIFY_PEER, nullptr);
    X509* ca = Read<X509>(trusts.certificate(), PEM_read_bio_X509);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context_), ca);
    X509_free(ca);
    if (!own.key.empty()) {
      X509* certificate = Read<X509>(own.certificate, PEM_read_bio_X509);
      EVP_PKEY* key = Read<EVP_PKEY>(own.key, PEM_read_bio_PrivateKey);
      SSL_CTX_use_certificate(context_, certificate);
      SSL_CTX_use_PrivateKey(context_, key);
      EVP_PKEY_free(key);
      X509_free(certificate);
    }
    connection_ = BIO_new_ssl_connect(context_);
    BIO_set_conn_hostname(connection_, absl::StrCat("127.0.0.1:", port).c_str());
  }
  ~TlsClient() {
    BIO_free_all(connection_);
    SSL_CTX_free(context_);
    ERR_clear_error();
  }

  // What came up to `until`, or to the end.
  std::string Ask(const std::string& request, const std::string& until) {
    std::string answer;
    if (BIO_write(connection_, request.data(), static_cast<int>(request.size())) <= 0) return answer;
    return More(until);
  }
  std::string More(const std::string& until) {
    std::string answer;
    char buffer[4096];
    while (!absl::StrContains(answer, until)) {
      const int got = BIO_read(connection_, buffer, sizeof(buffer));
      if (got <= 0) break;
      answer.append(buffer, static_cast<size_t>(got));
    }
    return answer;
  }
  bool Enters() { return absl::StartsWith(Ask(Get("/health"), "\r\n\r\n"), "HTTP/1.1 200"); }

 private:
  template <typename T, typename F>
  static T* Read(const std::string& pem, F read) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    T* value = read(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    return value;
  }

  SSL_CTX* context_;
  BIO* connection_;
};

class SurfaceTlsTest : public SurfaceTest {
 protected:
  void StartWithTls(bool client_certificates, HttpServerOptions options = {}) {
    Put(ca_, clients_);
    options.tls = {files_.path("crt"), files_.path("key"), client_certificates ? files_.path("ca") : ""};
    Start(options);
  }
  void Put(const proto::TestCa& servers, const proto::TestCa& clients) {
    const proto::Credential own = servers.Issue("DNS:localhost");
    files_.Put({{"crt", own.certificate}, {"key", own.key}, {"ca", clients.certificate()}});
  }

  const proto::TestCa ca_{"servers"};
  const proto::TestCa clients_{"clients"};
  const proto::TestCa next_{"next"};
  proto::SwappedFiles files_{FreshDir()};
};

TEST_F(SurfaceTlsTest, ClearTextAndUnknownCasAreRefused) {
  StartWithTls(false);
  EXPECT_TRUE(TlsClient(server_->port(), ca_).Enters());
  EXPECT_FALSE(TlsClient(server_->port(), clients_).Enters());
  EXPECT_NE(HttpClient(server_->port()).Ask(Get("/health")).status, 200);
  EXPECT_TRUE(TlsClient(server_->port(), ca_).Enters());
}

TEST_F(SurfaceTlsTest, ClientsNeedCertificatesOfTheirCa) {
  StartWithTls(true);
  const int port = server_->port();
  EXPECT_TRUE(TlsClient(port, ca_, clients_.Issue("")).Enters());
  EXPECT_FALSE(TlsClient(port, ca_).Enters());
  EXPECT_FALSE(TlsClient(port, ca_, ca_.Issue("")).Enters());
  EXPECT_FALSE(TlsClient(port, ca_, clients_.Issue("", -absl::Hours(1))).Enters());
}

TEST_F(SurfaceTlsTest, AnOldConnectionEndsWithItsNextAnswer) {
  HttpServerOptions options;
  StartWithTls(true, options);
  TlsClient young(server_->port(), ca_, clients_.Issue(""));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(young.Enters());
  server_.reset();
  options.connection_age = absl::ZeroDuration();
  StartWithTls(true, options);
  TlsClient old(server_->port(), ca_, clients_.Issue(""));
  EXPECT_TRUE(absl::StrContains(old.Ask(Get("/health"), "\r\n\r\n"), "Connection: close"));
}

TEST_F(SurfaceTlsTest, FilesAreRotatedUnderALiveStream) {
  StartWithTls(true);
  const int port = server_->port();
  const proto::Credential client = clients_.Issue("");
  TlsClient live(port, ca_, client);
  const json request = {{"prompt", {3, 4, 5}}, {"max_tokens", 200}, {"stream", true}, {"ignore_eos", true}};
  ASSERT_TRUE(
      absl::StrContains(live.Ask(Post("/v1/completions", request.dump(), Bearer(acme_.key)), "data: "), "data: "));
  group_->Hold();
  Put(next_, next_);
  const auto next = [&] { return TlsClient(port, next_, next_.Issue("")).Enters(); };
  for (int i = 0; i < 300 && !next(); ++i) absl::SleepFor(absl::Milliseconds(100));
  EXPECT_TRUE(next()) << "the new files never counted";
  EXPECT_FALSE(TlsClient(port, next_, client).Enters()) << "the old CA of clients still opens";
  EXPECT_FALSE(TlsClient(port, ca_, next_.Issue("")).Enters()) << "the old certificate is still shown";
  group_->Release();
  EXPECT_TRUE(absl::StrContains(live.More("[DONE]"), "[DONE]")) << "the stream did not outlive the rotation";
}

}  // namespace
}  // namespace quire::http
