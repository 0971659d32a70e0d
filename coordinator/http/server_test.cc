// The server over real sockets: framing, limits, time limits, streams, clients that leave or do not read.
#include "coordinator/http/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "coordinator/http/http_client.h"

namespace quire::http {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

bool WaitFor(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  while (absl::Now() < end) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return false;
}

class OneKey final : public access::Authenticator {
 public:
  absl::StatusOr<access::Caller> Authenticate(absl::string_view authorization) const override {
    if (authorization == "Bearer right") return access::Caller();
    return absl::UnauthenticatedError("send a key");
  }
};

// A stream that the test writes by hand.
struct Hand {
  absl::Mutex mutex;
  std::shared_ptr<Exchange> exchange ABSL_GUARDED_BY(mutex);
  std::atomic<int> num_gone{0};

  std::shared_ptr<Exchange> Take() {
    absl::MutexLock lock(&mutex);
    mutex.AwaitWithTimeout(absl::Condition(
                               +[](std::shared_ptr<Exchange>* e) { return *e != nullptr; }, &exchange),
                           kPatience);
    return std::exchange(exchange, nullptr);
  }
};

class HttpServerTest : public ::testing::Test {
 protected:
  void Start(HttpServerOptions options = {}, bool keys = false) {
    options.port = 0;
    absl::StatusOr<std::unique_ptr<HttpServer>> server =
        HttpServer::Start(options, Routes(), keys ? std::make_shared<OneKey>() : nullptr);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::vector<Route> Routes() {
    return {
        {"GET", "/hello", AuthPolicy::kOpen,
         [](const std::shared_ptr<Exchange>& e) { e->Reply(200, "text/plain", "hello"); }},
        {"POST", "/echo", AuthPolicy::kKey,
         [this](const std::shared_ptr<Exchange>& e) {
           ++num_echoes_;
           e->Reply(200, "text/plain", e->request().body);
         }},
        {"POST", "/drop", AuthPolicy::kKey, [](const std::shared_ptr<Exchange>&) {}},
        {"POST", "/hand", AuthPolicy::kKey,
         [this](const std::shared_ptr<Exchange>& e) {
           e->OnGone([this] { ++hand_.num_gone; });
           absl::MutexLock lock(&hand_.mutex);
           hand_.exchange = e;
         }},
        {"POST", "/count", AuthPolicy::kKey,
         [](const std::shared_ptr<Exchange>& e) {
           e->StartEvents();
           Count(e, 0);
         }},
    };
  }

  // Events 0 to 99, each once the one before is written.
  static void Count(const std::shared_ptr<Exchange>& e, int from) {
    if (from == 100) return e->End();
    e->WriteEvents(absl::StrCat("data: ", from, "\n\n"), [e, from](bool ok) {
      if (ok) Count(e, from + 1);
    });
  }

  int port() const { return server_->port(); }

  Hand hand_;
  std::atomic<int> num_echoes_{0};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersWithLengthAndKeepsTheConnection) {
  Start();
  HttpClient client(port());
  for (int i = 0; i < 3; ++i) {
    const Response response = client.Ask(Get("/hello", "X-Request-Id: abc\r\n"));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "hello");
    EXPECT_EQ(response.headers.at("x-request-id"), "abc");
    EXPECT_EQ(response.headers.at("connection"), "keep-alive");
    EXPECT_EQ(response.headers.at("content-type"), "text/plain");
  }
  EXPECT_EQ(server_->num_connections(), 1);
  const Response last = client.Ask(Get("/hello", "Connection: close\r\n"));
  EXPECT_EQ(last.headers.at("connection"), "close");
  EXPECT_TRUE(client.SeesEnd());
  EXPECT_TRUE(WaitFor([this] { return server_->num_connections() == 0; }));
}

TEST_F(HttpServerTest, HeadHasTheHeadersOnly) {
  Start();
  HttpClient client(port());
  ASSERT_TRUE(client.Send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
  const Response response = client.Read(kPatience, /*head_only=*/true);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.headers.at("content-length"), "5");
  EXPECT_EQ(client.Ask(Get("/hello")).body, "hello") << "no byte of a body was left over";
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  Start();
  HttpClient client(port());
  std::string all;
  for (int i = 0; i < 500; ++i) {
    absl::StrAppend(&all, Post("/echo", absl::StrCat("body ", i)), i % 10 == 0 ? Post("/count", "") : "");
  }
  std::thread sender([&] { EXPECT_TRUE(client.Send(all)); });
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(client.Read().body, absl::StrCat("body ", i));
    if (i % 10 == 0) {
      const std::vector<std::string> data = EventData(client.Read().body);
      ASSERT_EQ(data.size(), 100u);
      EXPECT_EQ(data.back(), "99");
    }
  }
  sender.join();
}

TEST_F(HttpServerTest, ABodyInPiecesOrChunksIsOneBody) {
  Start();
  HttpClient client(port());
  const std::string request = Post("/echo", std::string(50, 'a') + "end");
  for (const char c : request) ASSERT_TRUE(client.Send(std::string(1, c)));
  EXPECT_EQ(client.Read().body, std::string(50, 'a') + "end");
  ASSERT_TRUE(client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
  ASSERT_TRUE(client.Send("6;ext=1\r\n world\r\n0\r\n\r\n"));
  EXPECT_EQ(client.Read().body, "hello world");
}

TEST_F(HttpServerTest, ALargeBodyIsEchoedWhole) {
  Start();
  HttpClient client(port());
  std::string body(4 << 20, 'x');
  for (size_t i = 0; i < body.size(); i += 997) body[i] = static_cast<char>('a' + i % 26);
  std::thread sender([&] { EXPECT_TRUE(client.Send(Post("/echo", body, "Expect: 100-continue\r\n"))); });
  const Response response = client.Read();
  sender.join();
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.body == body);
}

TEST_F(HttpServerTest, WhatIsTooLargeIsRefused) {
  Start();
  const auto status_of = [this](const std::string& bytes) { return HttpClient(port()).Ask(bytes).status; };
  const std::string limit = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ";
  EXPECT_EQ(status_of(limit + "4194305\r\n\r\n"), 413) << "before a byte of it is read";
  EXPECT_EQ(status_of(limit + "99999999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(status_of(limit + "-1\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n500000\r\n" +
                      std::string(5 << 20, 'x')),
            413);
  EXPECT_EQ(status_of(Get("/hello", absl::StrCat("X-Long: ", std::string(17 << 10, 'x'), "\r\n"))), 431);
  EXPECT_EQ(status_of(Get(absl::StrCat("/", std::string(17 << 10, 'x')))), 431);
  EXPECT_EQ(status_of(std::string(17 << 10, 'x')), 431);
  std::string many;
  for (int i = 0; i < 2000; ++i) absl::StrAppend(&many, "a", i, ": b\r\n");
  EXPECT_EQ(status_of(Get("/hello", many)), 431);
  EXPECT_EQ(status_of(Get("/hello")), 200);
}

TEST_F(HttpServerTest, WhatIsNoHttpIsRefusedAndTheConnectionEnds) {
  Start();
  const std::pair<const char*, int> cases[] = {
      {"GARBAGE\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n\r\n", 400},  // no Host
      {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400},
      {"GET /hello HTTP/1.1\r\n Host: a\r\n\r\n", 400},
      {"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"\x16\x03\x01\x02\x01\x01\r\n\r\n", 400},  // TLS to a clear port
  };
  for (const auto& [bytes, status] : cases) {
    HttpClient client(port());
    const Response response = client.Ask(bytes);
    EXPECT_EQ(response.status, status) << bytes;
    EXPECT_TRUE(absl::StrContains(response.body, "\"error\"")) << response.body;
    EXPECT_TRUE(client.SeesEnd()) << bytes;
  }
  EXPECT_EQ(num_echoes_, 0);
}

TEST_F(HttpServerTest, WhoMayNotComeInIsToldBeforeTheBodyIsRead) {
  Start({}, /*keys=*/true);
  HttpClient client(port());
  ASSERT_TRUE(client.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"));
  EXPECT_EQ(client.Read().status, 401);
  EXPECT_TRUE(client.SeesEnd());
  EXPECT_EQ(HttpClient(port()).Ask(Post("/echo", "x", "Authorization: Bearer right\r\n")).body, "x");
  EXPECT_EQ(HttpClient(port()).Ask(Post("/nothing", "x")).status, 404);
  EXPECT_EQ(num_echoes_, 1);
}

TEST_F(HttpServerTest, ARequestThatNobodyAnswersIsAnswered500) {
  Start();
  HttpClient client(port());
  EXPECT_EQ(client.Ask(Post("/drop", "")).status, 500);
  EXPECT_EQ(client.Ask(Get("/hello")).status, 200);
}

TEST_F(HttpServerTest, EveryAnswerIsReportedOnce) {
  absl::Mutex mutex;
  std::vector<std::string> answers;
  HttpServerOptions options;
  options.on_answer = [&](absl::string_view route, absl::string_view method, int status) {
    absl::MutexLock lock(&mutex);
    answers.push_back(absl::StrCat(method, " ", route, " ", status));
  };
  Start(options);
  const auto ask = [this](const std::string& bytes) { HttpClient(port()).Ask(bytes); };
  ask(Get("/hello"));
  ask(Get("/secret/of/a/client"));
  ask(Post("/hello", ""));
  ask("BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  ask("GARBAGE\r\n\r\n");
  ask(Post("/count", ""));
  ask(Post("/drop", ""));
  HttpClient leaves(port());
  ASSERT_TRUE(leaves.Send(Post("/hand", "")));
  const std::shared_ptr<Exchange> exchange = hand_.Take();
  leaves.Close();
  EXPECT_TRUE(WaitFor([this] { return hand_.num_gone == 1; }));
  exchange->Reply(200, "text/plain", "too late");
  const std::vector<std::string> expected = {"GET /hello 200", "GET none 404",    "POST none 405",  "other none 405",
                                             "other none 400", "POST /count 200", "POST /drop 500", "POST /hand 499"};
  absl::MutexLock lock(&mutex);
  EXPECT_EQ(answers, expected);
}

TEST_F(HttpServerTest, AStreamHasItsHeadersAndEvents) {
  Start();
  HttpClient client(port());
  const Response response = client.Ask(Post("/count", ""));
  EXPECT_EQ(response.headers.at("content-type"), "text/event-stream");
  EXPECT_EQ(response.headers.at("cache-control"), "no-cache");
  EXPECT_EQ(response.headers.at("x-accel-buffering"), "no");
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(EventData(response.body).size(), 100u);
  EXPECT_EQ(client.Ask(Get("/hello")).body, "hello");
  // HTTP/1.0 knows no chunks: the end of the connection is the end.
  HttpClient old(port());
  const Response plain = old.Ask("POST /count HTTP/1.0\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(plain.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(EventData(plain.body).size(), 100u);
}

TEST_F(HttpServerTest, AStreamOfSilenceIsPinged) {
  HttpServerOptions options;
  options.ping_period = absl::Milliseconds(40);
  Start(options);
  HttpClient client(port());
  ASSERT_TRUE(client.Send(Post("/hand", "")));
  const std::shared_ptr<Exchange> exchange = hand_.Take();
  EXPECT_FALSE(client.ReadUntil("HTTP", absl::Milliseconds(120))) << "nothing is sent before there is an answer";
  exchange->StartEvents();
  absl::Notification written;
  exchange->WriteEvents("data: 1\n\n", [&](bool) { written.Notify(); });
  written.WaitForNotification();
  ASSERT_TRUE(client.ReadUntil(": ping\n\n\r\n8\r\n: ping\n\n"));
  absl::Notification second;
  exchange->WriteEvents("data: 2\n\n", [&](bool) { second.Notify(); });
  second.WaitForNotification();
  exchange->End();
  const Response response = client.Read();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(EventData(response.body), (std::vector<std::string>{"1", "2"}));
}

TEST_F(HttpServerTest, AClientThatLeavesIsNoticedWhileNothingIsWritten) {
  Start();
  for (const bool streaming : {false, true}) {
    hand_.num_gone = 0;
    HttpClient client(port());
    ASSERT_TRUE(client.Send(Post("/hand", "")));
    std::shared_ptr<Exchange> exchange = hand_.Take();
    if (streaming) {
      exchange->StartEvents();
      exchange->WriteEvents("data: 1\n\n", nullptr);
      ASSERT_TRUE(client.ReadUntil("data: 1"));
    }
    client.Close();
    EXPECT_TRUE(WaitFor([this] { return hand_.num_gone == 1; }));
    if (streaming) {
      absl::Notification told;
      exchange->WriteEvents("data: 2\n\n", [&](bool ok) {
        EXPECT_FALSE(ok);
        told.Notify();
      });
      EXPECT_TRUE(told.WaitForNotificationWithTimeout(kPatience));
      exchange->End();
    } else {
      exchange->Reply(200, "text/plain", "too late");
    }
    EXPECT_EQ(hand_.num_gone, 1);
  }
  EXPECT_TRUE(WaitFor([this] { return server_->num_connections() == 0; }));
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsCutOff) {
  HttpServerOptions options;
  options.stall_timeout = absl::Milliseconds(200);
  Start(options);
  HttpClient client(port(), /*receive_buffer_bytes=*/4096);
  ASSERT_TRUE(client.Send(Post("/hand", "")));
  const std::shared_ptr<Exchange> exchange = hand_.Take();
  exchange->StartEvents();
  // One write at a time: what the kernel does not take waits, and nothing else is handed over meanwhile.
  const std::string events = absl::StrCat("data: ", std::string(1000, 'x'), "\n\n");
  int num_written = 0;
  bool alive = true;
  while (alive && num_written < 100000) {
    absl::Notification done;
    exchange->WriteEvents(events, [&](bool ok) {
      alive = ok;
      done.Notify();
    });
    ASSERT_TRUE(done.WaitForNotificationWithTimeout(kPatience));
    num_written += alive;
  }
  EXPECT_FALSE(alive);
  EXPECT_LT(num_written, 2000) << "the kernel holds more than its buffers";
  EXPECT_TRUE(WaitFor([this] { return hand_.num_gone == 1; }));
  exchange->End();
  EXPECT_EQ(HttpClient(port()).Ask(Get("/hello")).status, 200);
}

TEST_F(HttpServerTest, SlowSendersAreTimedOut) {
  HttpServerOptions options;
  options.header_timeout = absl::Milliseconds(150);
  options.body_timeout = absl::Milliseconds(150);
  options.idle_timeout = absl::Milliseconds(150);
  Start(options);
  HttpClient silent(port());
  EXPECT_TRUE(silent.SeesEnd());
  HttpClient drips(port());
  const std::string header = Get("/hello", "A: b\r\n");
  for (size_t i = 0; i + 2 < header.size() && drips.Send(header.substr(i, 1)); ++i)
    absl::SleepFor(absl::Milliseconds(8));
  EXPECT_EQ(drips.Read().status, 408) << "however steadily it drips";
  HttpClient body(port());
  ASSERT_TRUE(body.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"));
  EXPECT_EQ(body.Read().status, 408);
  HttpClient idle(port());
  EXPECT_EQ(idle.Ask(Get("/hello")).status, 200);
  EXPECT_TRUE(idle.SeesEnd());
}

TEST_F(HttpServerTest, ConnectionsAreCounted) {
  HttpServerOptions options;
  options.max_connections = 3;
  Start(options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port()));
    EXPECT_EQ(clients.back()->Ask(Get("/hello")).status, 200);
  }
  HttpClient fourth(port());
  const Response refused = fourth.Read();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  clients.pop_back();
  EXPECT_TRUE(WaitFor([this] { return server_->num_connections() == 2; }));
  EXPECT_EQ(HttpClient(port()).Ask(Get("/hello")).status, 200);
}

TEST_F(HttpServerTest, BodiesTogetherHaveALimit) {
  HttpServerOptions options;
  options.max_body_bytes_together = 1 << 20;
  Start(options);
  HttpClient first(port());
  ASSERT_TRUE(
      first.Send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + std::string(800000, 'x')));
  ASSERT_TRUE(WaitFor([this] { return server_->body_bytes() == 800000; }));
  HttpClient second(port());
  const Response refused = HttpClient(port()).Ask(Post("/echo", std::string(300000, 'y')));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.count("retry-after"), 1u);
  ASSERT_TRUE(first.Send(std::string(100000, 'x')));
  EXPECT_EQ(first.Read().body.size(), 900000u);
  EXPECT_EQ(second.Ask(Post("/echo", std::string(300000, 'y'))).status, 200) << "what is answered counts no more";
  EXPECT_TRUE(WaitFor([this] { return server_->body_bytes() == 0; }));
}

TEST_F(HttpServerTest, ShutdownLetsAnAnswerEndAndClosesTheIdle) {
  Start();
  HttpClient idle(port());
  EXPECT_EQ(idle.Ask(Get("/hello")).status, 200);
  HttpClient busy(port());
  ASSERT_TRUE(busy.Send(Post("/hand", "")));
  const std::shared_ptr<Exchange> exchange = hand_.Take();
  exchange->StartEvents();
  std::thread stopping([this] { server_->Shutdown(kPatience); });
  EXPECT_TRUE(idle.SeesEnd());
  absl::Notification written;
  exchange->WriteEvents("data: 1\n\n", [&](bool) { written.Notify(); });
  written.WaitForNotification();
  exchange->End();
  const Response response = busy.Read();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(EventData(response.body).size(), 1u);
  busy.Close();
  stopping.join();
}

TEST_F(HttpServerTest, ShutdownWithoutGraceCutsOff) {
  Start();
  HttpClient busy(port());
  ASSERT_TRUE(busy.Send(Post("/hand", "")));
  const std::shared_ptr<Exchange> exchange = hand_.Take();
  server_->Shutdown(absl::ZeroDuration());
  EXPECT_EQ(hand_.num_gone, 1);
  EXPECT_FALSE(busy.Read().complete);
  exchange->Reply(200, "text/plain", "nobody hears");
}

TEST_F(HttpServerTest, WhileItDrainsEveryAnswerIsTheLastOfItsConnection) {
  Start();
  HttpClient client(port());
  EXPECT_EQ(client.Ask(Get("/hello")).headers.at("connection"), "keep-alive");
  server_->Drain();
  EXPECT_EQ(client.Ask(Get("/hello")).headers.at("connection"), "close");
  EXPECT_TRUE(client.SeesEnd());
  EXPECT_EQ(HttpClient(port()).Ask(Get("/hello")).status, 200) << "still served, so that a probe gets its answer";
}

TEST_F(HttpServerTest, APortInUseIsAnErrorThatNamesIt) {
  Start();
  HttpServerOptions options;
  options.port = port();
  const absl::Status status = HttpServer::Start(options, {}, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("127.0.0.1:", port()))) << status;
  options.port = 70000;
  EXPECT_EQ(HttpServer::Start(options, {}, nullptr).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace quire::http
