#include "coordinator/http/gate.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace quire::http {
namespace {

class OneKey final : public access::Authenticator {
 public:
  absl::StatusOr<access::Caller> Authenticate(absl::string_view authorization) const override {
    if (authorization != "Bearer right") return absl::UnauthenticatedError("send a key");
    access::Caller caller;
    caller.tenant = "acme";
    return caller;
  }
};

std::vector<Route> Routes() {
  const RouteHandler none = [](std::shared_ptr<Exchange>) {};
  return {{"GET", "/open", AuthPolicy::kOpen, none},
          {"GET", "/both", AuthPolicy::kKey, none},
          {"POST", "/both", AuthPolicy::kKey, none},
          {"GET", "/models", AuthPolicy::kKey, none},
          {"GET", "/models/", AuthPolicy::kKey, none}};
}

// What a request gets: "200 /path of the route", or the status of the refusal.
struct Asked {
  Verdict verdict;
  Request request;
  std::string route() const { return verdict.route == nullptr ? "" : verdict.route->path; }
  std::string Header(const std::string& name) const {
    for (const auto& [key, value] : verdict.headers) {
      if (key == name) return value;
    }
    return "";
  }
};

Asked Ask(const Gate& gate, const std::string& method, const std::string& target, Headers headers = {}) {
  Asked asked;
  asked.request.method = method;
  asked.request.headers = std::move(headers);
  asked.verdict = gate.Check(target, &asked.request);
  return asked;
}

TEST(GateTest, FindsTheRouteByMethodAndDecodedPath) {
  const Gate gate(Routes(), nullptr, {});
  EXPECT_EQ(Ask(gate, "GET", "/open").route(), "/open");
  EXPECT_EQ(Ask(gate, "HEAD", "/open").route(), "/open");
  EXPECT_EQ(Ask(gate, "GET", "/%6fpen?x=%20y").route(), "/open");
  EXPECT_EQ(Ask(gate, "GET", "/open?x=1&y").request.query, "x=1&y");
  EXPECT_EQ(Ask(gate, "GET", "http://other:1/open").route(), "/open");
  EXPECT_EQ(Ask(gate, "GET", "/models").route(), "/models");
  EXPECT_EQ(Ask(gate, "GET", "/models/a/b%20c").route(), "/models/");
  EXPECT_EQ(Ask(gate, "GET", "/models/a/b%20c").request.path, "/models/a/b c");
  for (const char* path : {"/Open", "/open/", "/opens", "//open", "/", "/open%00", "/models//../open"}) {
    EXPECT_NE(Ask(gate, "GET", path).route(), "/open") << path;
  }
  EXPECT_EQ(Ask(gate, "GET", "/nothing").verdict.status, 404);
  for (const char* target : {"", "open", "*", "/%", "/%4", "/%zz", "/%00"}) {
    EXPECT_EQ(Ask(gate, "GET", target).verdict.status, 400) << target;
  }
}

TEST(GateTest, AnotherMethodIsToldWhichThereAre) {
  const Gate gate(Routes(), nullptr, {});
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get"}) {
    const Asked asked = Ask(gate, method, "/open");
    EXPECT_EQ(asked.verdict.status, 405) << method;
    EXPECT_EQ(asked.Header("Allow"), "GET, HEAD");
  }
  EXPECT_EQ(Ask(gate, "PUT", "/both").Header("Allow"), "GET, HEAD, POST");
  EXPECT_EQ(Ask(gate, "OPTIONS", "/both").verdict.status, 204);
}

TEST(GateTest, OnlyWhoHasAKeyGetsToARouteThatWantsOne) {
  const Gate gate(Routes(), std::make_shared<OneKey>(), {});
  EXPECT_EQ(Ask(gate, "GET", "/open").route(), "/open");
  EXPECT_EQ(Ask(gate, "POST", "/both", {{"authorization", "Bearer right"}}).request.caller.tenant, "acme");
  for (const Headers& headers : std::vector<Headers>{
           {}, {{"authorization", "Bearer wrong"}}, {{"authorization", ""}}, {{"x-api-key", "right"}}}) {
    const Asked asked = Ask(gate, "POST", "/both", headers);
    EXPECT_EQ(asked.verdict.status, 401);
    EXPECT_EQ(asked.route(), "");
    EXPECT_EQ(asked.Header("WWW-Authenticate"), "Bearer");
    EXPECT_NE(asked.verdict.body.find("invalid_api_key"), std::string::npos) << asked.verdict.body;
  }
}

TEST(GateTest, EveryAnswerHasARequestId) {
  const Gate gate(Routes(), nullptr, {});
  EXPECT_EQ(Ask(gate, "GET", "/open", {{"x-request-id", "a.b_c:d-9"}}).Header("X-Request-Id"), "a.b_c:d-9");
  EXPECT_EQ(Ask(gate, "GET", "/open", {{"x-request-id", "a"}}).request.request_id, "a");
  const std::string longest(128, 'x');
  EXPECT_EQ(Ask(gate, "GET", "/open", {{"x-request-id", longest}}).request.request_id, longest);
  for (const std::string& bad :
       {std::string(), longest + "x", std::string("a b"), std::string("a/b"), std::string("\xc3\xa4")}) {
    const Asked asked = Ask(gate, "GET", "/nothing", {{"x-request-id", bad}});
    EXPECT_EQ(asked.request.request_id, "");
    EXPECT_TRUE(IsLabel(asked.Header("X-Request-Id"))) << asked.Header("X-Request-Id");
  }
  EXPECT_NE(Ask(gate, "GET", "/open").Header("X-Request-Id"), Ask(gate, "GET", "/open").Header("X-Request-Id"));
}

TEST(GateTest, PagesOfOtherOriginsChangeNothing) {
  const Gate closed(Routes(), nullptr, {});
  const auto post = [](const Gate& gate, const std::string& origin, const std::string& host) {
    return Ask(gate, "POST", "/both", {{"origin", origin}, {"host", host}});
  };
  EXPECT_EQ(post(closed, "https://evil.example", "127.0.0.1:8000").verdict.status, 403);
  EXPECT_EQ(post(closed, "null", "127.0.0.1:8000").verdict.status, 403);
  EXPECT_EQ(post(closed, "http://127.0.0.1:8000", "127.0.0.1:8000").route(), "/both") << "our own page";
  EXPECT_EQ(post(closed, "http://localhost:8000", "localhost:8000").route(), "/both");
  EXPECT_EQ(post(closed, "http://[::1]:8000", "[::1]:8000").route(), "/both");
  EXPECT_EQ(post(closed, "http://evil.example:8000", "evil.example:8000").verdict.status, 403) << "a name led here";
  EXPECT_EQ(Ask(closed, "GET", "/open", {{"origin", "https://evil.example"}}).Header("Access-Control-Allow-Origin"), "")
      << "the browser keeps the answer from the page";
  const Gate some(Routes(), nullptr, {"https://chat.example"});
  const Asked allowed = post(some, "https://chat.example", "api.example");
  EXPECT_EQ(allowed.route(), "/both");
  EXPECT_EQ(allowed.Header("Access-Control-Allow-Origin"), "https://chat.example");
  EXPECT_EQ(allowed.Header("Vary"), "Origin");
  EXPECT_EQ(post(some, "https://chat.example.evil", "api.example").verdict.status, 403);
  const Asked preflight = Ask(some, "OPTIONS", "/both", {{"origin", "https://chat.example"}});
  EXPECT_EQ(preflight.verdict.status, 204);
  EXPECT_EQ(preflight.Header("Access-Control-Allow-Methods"), "GET, HEAD, POST");
  EXPECT_NE(preflight.Header("Access-Control-Allow-Headers").find("Authorization"), std::string::npos);
  EXPECT_EQ(Ask(some, "OPTIONS", "/both", {{"origin", "https://evil.example"}}).Header("Access-Control-Allow-Methods"),
            "");
  EXPECT_EQ(post(Gate(Routes(), nullptr, {"*"}), "https://any.example", "x").Header("Access-Control-Allow-Origin"),
            "*");
}

TEST(GateTest, TraceparentIsTakenIfItIsWellFormed) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_TRUE(IsTraceparent(good));
  EXPECT_TRUE(IsTraceparent("cc" + good.substr(2) + "-more"));
  const Gate gate(Routes(), nullptr, {});
  EXPECT_EQ(Ask(gate, "GET", "/open", {{"traceparent", good}}).request.traceparent, good);
  for (const std::string& bad :
       std::vector<std::string>{std::string(), good.substr(1), good + "-more", good + "x", "ff" + good.substr(2),
                                "0A" + good.substr(2), "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"}) {
    EXPECT_FALSE(IsTraceparent(bad)) << bad;
    EXPECT_EQ(Ask(gate, "GET", "/open", {{"traceparent", bad}}).request.traceparent, "");
  }
}

TEST(RouteTableDeathTest, ARouteIsThereOnce) {
  const RouteHandler none = [](std::shared_ptr<Exchange>) {};
  EXPECT_DEATH(RouteTable({{"GET", "/a", AuthPolicy::kOpen, none}, {"GET", "/a", AuthPolicy::kKey, none}}), "twice");
}

}  // namespace
}  // namespace quire::http
