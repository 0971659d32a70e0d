#include "coordinator/http/server.h"

#include <glog/logging.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "coordinator/http/connection.h"
#include "coordinator/http/stream.h"
#include "coordinator/openai/errors.h"

namespace quire::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

// Of the kernel, for each connection: what a client that does not read makes us hold there.
constexpr int kSendBufferBytes = 64 << 10;
constexpr int kBacklog = 1024;
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);  // after a failure, as no file descriptor being left
constexpr absl::Duration kTickMax = absl::Seconds(1);
constexpr absl::Duration kTickMin = absl::Milliseconds(5);
constexpr absl::Duration kCutOff = absl::Seconds(5);  // far more than closing takes

// The whole answer to a connection too many.
std::string FullAnswer() {
  const std::string body = openai::ErrorBody(503, "The server has too many connections; come back later.");
  return absl::StrCat("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n",
                      "Content-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

// How often time limits are looked at: often enough for the shortest.
absl::Duration TickPeriod(const HttpServerOptions& o) {
  const absl::Duration least =
      std::min({o.header_timeout, o.body_timeout, o.idle_timeout, o.stall_timeout, o.ping_period});
  return std::max(kTickMin, std::min(kTickMax, least / 8));
}

// Every connection takes a file descriptor; the customary soft limit is 1024.
void AllowFiles(int num_connections) {
  constexpr rlim_t kOthers = 512;
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = static_cast<rlim_t>(num_connections) + kOthers;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    LOG(WARNING) << "this process may open " << limit.rlim_max
                 << " files, fewer than --max_connections=" << num_connections << " need; raise it with ulimit -n";
  }
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, Gate gate)
      : shared_(options, std::move(gate)), tick_period_(TickPeriod(options)) {
    for (int i = 0; i < options.num_threads; ++i) loops_.push_back(std::make_unique<ServedLoop>());
  }

  absl::Status Listen();
  void Shutdown(absl::Duration grace);
  void Drain() { shared_.draining = true; }
  int port() const { return port_; }
  int num_connections() const { return shared_.num_connections; }
  int64_t body_bytes() const { return shared_.body_bytes; }

 private:
  struct ServedLoop : Loop {
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    asio::steady_timer timer{context};
    std::thread thread;
  };

  absl::Status Open(const tcp::endpoint& endpoint, const std::string& address);
  void Accept();
  void OnAccept(const error_code& error, tcp::socket socket, ServedLoop* loop);
  void ScheduleTick(ServedLoop* loop);
  void FinishAll(bool now);
  bool WaitUntilEmpty(absl::Time deadline) const;

  Shared shared_;
  const absl::Duration tick_period_;
  std::unique_ptr<access::TlsContext> tls_;  // null: clear text
  const std::string full_answer_ = FullAnswer();
  std::vector<std::unique_ptr<ServedLoop>> loops_;
  std::unique_ptr<tcp::acceptor> acceptor_;           // the first loop's
  std::unique_ptr<asio::steady_timer> accept_pause_;  // likewise
  size_t next_loop_ = 0;                              // likewise
  int port_ = 0;
  bool stopped_ = false;
};

absl::Status HttpServer::Impl::Listen() {
  const HttpServerOptions& options = shared_.options;
  const bool bare_ipv6 = absl::StrContains(options.host, ':') && !absl::StartsWith(options.host, "[");
  const std::string host(absl::StripSuffix(absl::StripPrefix(options.host, "["), "]"));
  const std::string address =
      bare_ipv6 ? absl::StrCat("[", host, "]:", options.port) : absl::StrCat(options.host, ":", options.port);
  if (options.tls.enabled()) {
    absl::StatusOr<std::unique_ptr<access::TlsContext>> tls = access::TlsContext::Open(options.tls);
    if (!tls.ok()) return tls.status();
    tls_ = *std::move(tls);
  }
  error_code error;
  tcp::resolver resolver(loops_[0]->context);
  const auto found = resolver.resolve(host, absl::StrCat(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", address, ": ", error.message()));
  }
  if (absl::Status status = Open(found.begin()->endpoint(), address); !status.ok()) return status;
  AllowFiles(options.max_connections);
  accept_pause_ = std::make_unique<asio::steady_timer>(loops_[0]->context);
  asio::post(loops_[0]->context, [this] { Accept(); });
  for (const auto& loop : loops_) {
    ScheduleTick(loop.get());
    loop->thread = std::thread([loop = loop.get()] { loop->context.run(); });
  }
  return absl::OkStatus();
}

absl::Status HttpServer::Impl::Open(const tcp::endpoint& endpoint, const std::string& address) {
  acceptor_ = std::make_unique<tcp::acceptor>(loops_[0]->context);
  error_code error;
  acceptor_->open(endpoint.protocol(), error);
  if (!error) acceptor_->set_option(tcp::acceptor::reuse_address(true), error);
  // Accepted sockets have it, too.
  if (!error) acceptor_->set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), error);
  if (!error) acceptor_->bind(endpoint, error);
  if (!error) acceptor_->listen(kBacklog, error);
  if (error) return absl::FailedPreconditionError(absl::StrCat("cannot listen on ", address, ": ", error.message()));
  port_ = acceptor_->local_endpoint(error).port();
  return absl::OkStatus();
}

void HttpServer::Impl::Accept() {
  if (!acceptor_->is_open()) return;
  ServedLoop* loop = loops_[next_loop_++ % loops_.size()].get();
  acceptor_->async_accept(loop->context, [this, loop](const error_code& error, tcp::socket socket) {
    OnAccept(error, std::move(socket), loop);
  });
}

void HttpServer::Impl::OnAccept(const error_code& error, tcp::socket socket, ServedLoop* loop) {
  if (!acceptor_->is_open()) return;
  if (error) {
    LOG_EVERY_N(WARNING, 100) << "cannot accept a connection: " << error.message();
    accept_pause_->expires_after(absl::ToChronoMilliseconds(kAcceptPause));
    accept_pause_->async_wait([this](const error_code&) { Accept(); });
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  if (shared_.num_connections >= shared_.options.max_connections) {
    socket.non_blocking(true, ignored);
    if (tls_ == nullptr) socket.send(asio::buffer(full_answer_), 0, ignored);
    socket.shutdown(tcp::socket::shutdown_both, ignored);
  } else {
    auto connection = std::make_shared<Connection>(
        loop, &shared_,
        tls_ == nullptr ? MakePlainStream(std::move(socket)) : MakeTlsStream(std::move(socket), tls_->Get()));
    asio::post(loop->context, [connection] { connection->Start(); });
  }
  Accept();
}

void HttpServer::Impl::ScheduleTick(ServedLoop* loop) {
  loop->timer.expires_after(absl::ToChronoMilliseconds(tick_period_));
  loop->timer.async_wait([this, loop](const error_code& error) {
    if (error) return;
    const Connection::Clock::time_point now = Connection::Clock::now();
    // A copy: those that are over their time leave the set.
    const std::vector<std::shared_ptr<Connection>> all(loop->connections.begin(), loop->connections.end());
    for (const auto& connection : all) connection->Tick(now);
    ScheduleTick(loop);
  });
}

void HttpServer::Impl::FinishAll(bool now) {
  for (const auto& loop : loops_) {
    asio::post(loop->context, [loop = loop.get(), now] {
      const std::vector<std::shared_ptr<Connection>> all(loop->connections.begin(), loop->connections.end());
      for (const auto& connection : all) connection->Finish(now);
    });
  }
}

bool HttpServer::Impl::WaitUntilEmpty(absl::Time deadline) const {
  while (shared_.num_connections > 0) {
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return true;
}

void HttpServer::Impl::Shutdown(absl::Duration grace) {
  if (stopped_ || acceptor_ == nullptr) return;
  stopped_ = true;
  Drain();
  shared_.closing = true;
  asio::post(loops_[0]->context, [this] {
    error_code ignored;
    acceptor_->close(ignored);
    accept_pause_->cancel();
  });
  FinishAll(/*now=*/false);
  if (!WaitUntilEmpty(absl::Now() + grace)) {
    FinishAll(/*now=*/true);
    if (!WaitUntilEmpty(absl::Now() + kCutOff)) LOG(ERROR) << num_connections() << " HTTP connections do not close";
  }
  shared_.pool.Stop();
  for (const auto& loop : loops_) loop->context.stop();
  for (const auto& loop : loops_) {
    if (loop->thread.joinable()) loop->thread.join();
  }
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(
    const HttpServerOptions& options, std::vector<Route> routes,
    std::shared_ptr<const access::Authenticator> authenticator) {
  if (options.port < 0 || options.port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("the port must be in [0, 65535], got ", options.port, "."));
  }
  auto impl =
      std::make_unique<Impl>(options, Gate(std::move(routes), std::move(authenticator), options.allowed_origins));
  if (absl::Status status = impl->Listen(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Shutdown(absl::ZeroDuration()); }
int HttpServer::port() const { return impl_->port(); }
int HttpServer::num_connections() const { return impl_->num_connections(); }
int64_t HttpServer::body_bytes() const { return impl_->body_bytes(); }
void HttpServer::Drain() { impl_->Drain(); }
void HttpServer::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

}  // namespace quire::http
