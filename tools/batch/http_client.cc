// Each operation is started asynchronously and run to its end at once: that is how Beast's time limits work.
#include "tools/batch/http_client.h"

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace quire::batch {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using boost::system::error_code;
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

constexpr size_t kAnswerBytesMax = 256 << 20;
constexpr absl::Duration kConnectTimeout = absl::Seconds(10);

absl::Status ToStatus(const error_code& error, const std::string& what) {
  const std::string message = absl::StrCat(what, ": ", error.message());
  if (error == beast::error::timeout) return absl::DeadlineExceededError(message);
  if (error == http::error::body_limit) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

// Negative if the answer does not say.
absl::Duration RetryAfter(const http::response<http::string_body>& answer) {
  const auto number = [&answer](const char* name, double* value) {
    const auto it = answer.find(name);
    return it != answer.end() && absl::SimpleAtod(absl::string_view(it->value().data(), it->value().size()), value) &&
           *value >= 0 && *value < 1e9;
  };
  double value = 0;
  if (number("retry-after-ms", &value)) return absl::Milliseconds(value);
  if (number("retry-after", &value)) return absl::Seconds(value);
  return absl::Seconds(-1);  // a date counts as nothing said
}

template <typename Stream>
class Client final : public HttpClient {
 public:
  Client(HttpServer server, std::unique_ptr<ssl::context> tls) : server_(std::move(server)), tls_(std::move(tls)) {}

  absl::StatusOr<HttpReply> Post(const std::string& path, const std::string& body, absl::Duration timeout) override {
    const absl::Time end = absl::Now() + timeout;
    const bool reused = stream_ != nullptr;
    absl::StatusOr<HttpReply> reply = Attempt(path, body, end);
    // A server may close a connection that rested; that says nothing about it.
    if (reused && absl::IsUnavailable(reply.status()) && !cancelled_) reply = Attempt(path, body, end);
    if (!reply.ok() && cancelled_) return absl::CancelledError("cancelled");
    return reply;
  }

  void Cancel() override {
    cancelled_ = true;
    asio::post(context_, [this] {
      if (stream_ != nullptr) beast::get_lowest_layer(*stream_).cancel();
    });
  }

 private:
  absl::StatusOr<HttpReply> Attempt(const std::string& path, const std::string& body, absl::Time end) {
    if (stream_ == nullptr) {
      const absl::Status status = Connect();
      if (!status.ok()) {
        stream_.reset();
        return status;
      }
    }
    absl::StatusOr<HttpReply> reply = Exchange(path, body, end);
    if (!reply.ok()) stream_.reset();
    return reply;
  }

  // Runs `start(handler)` to its end.
  template <typename Start>
  error_code Await(const Start& start) {
    error_code result = asio::error::operation_aborted;
    if (cancelled_) return result;
    start([&result](const error_code& error, const auto&...) { result = error; });
    context_.restart();
    context_.run();
    return result;
  }

  absl::Status Connect() {
    const std::string where = absl::StrCat(server_.host, ":", server_.port);
    error_code error;
    asio::ip::tcp::resolver resolver(context_);
    const auto addresses = resolver.resolve(server_.host, server_.port, error);
    if (error) return ToStatus(error, where);
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_ = std::make_unique<TlsStream>(context_, *tls_);
      stream_->set_verify_callback(ssl::host_name_verification(server_.host));
      SSL_set_tlsext_host_name(stream_->native_handle(), server_.host.c_str());
    } else {
      stream_ = std::make_unique<PlainStream>(context_);
    }
    auto& lowest = beast::get_lowest_layer(*stream_);
    lowest.expires_after(absl::ToChronoNanoseconds(kConnectTimeout));
    error = Await([&](auto handler) { lowest.async_connect(addresses, std::move(handler)); });
    if (error == beast::error::timeout) return absl::UnavailableError(absl::StrCat(where, ": no connection in time"));
    if (error) return ToStatus(error, where);
    lowest.socket().set_option(asio::ip::tcp::no_delay(true), error);
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      error = Await([&](auto handler) { stream_->async_handshake(ssl::stream_base::client, std::move(handler)); });
      if (error) return absl::UnavailableError(absl::StrCat(where, ": TLS: ", error.message()));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<HttpReply> Exchange(const std::string& path, const std::string& body, absl::Time end) {
    http::request<http::string_body> request(http::verb::post, path, 11);
    request.set(http::field::host, absl::StrCat(server_.host, ":", server_.port));
    request.set(http::field::content_type, "application/json");
    request.set(http::field::accept, "application/json");
    request.set(http::field::user_agent, "quire-batch");
    if (!server_.api_key.empty()) request.set(http::field::authorization, absl::StrCat("Bearer ", server_.api_key));
    request.body() = body;
    request.prepare_payload();
    auto& lowest = beast::get_lowest_layer(*stream_);
    lowest.expires_after(absl::ToChronoNanoseconds(end - absl::Now()));
    error_code error = Await([&](auto handler) { http::async_write(*stream_, request, std::move(handler)); });
    // A refusal may come before the request is read whole: what broke the sending is then in the answer.
    const error_code sent = error;
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kAnswerBytesMax);
    error = Await([&](auto handler) { http::async_read(*stream_, buffer, parser, std::move(handler)); });
    if (error) return ToStatus(sent ? sent : error, absl::StrCat("POST ", path));
    const auto& answer = parser.get();
    HttpReply reply;
    reply.status = static_cast<int>(answer.result_int());
    reply.retry_after = RetryAfter(answer);
    if (const auto it = answer.find("x-request-id"); it != answer.end()) reply.request_id = std::string(it->value());
    reply.body = parser.release().body();
    if (sent || !parser.keep_alive()) stream_.reset();
    return reply;
  }

  const HttpServer server_;
  const std::unique_ptr<ssl::context> tls_;
  asio::io_context context_{1};
  std::unique_ptr<Stream> stream_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

absl::StatusOr<HttpServer> ParseServerUrl(const std::string& url) {
  HttpServer server;
  absl::string_view rest = url;
  server.tls = absl::ConsumePrefix(&rest, "https://");
  if (!server.tls) absl::ConsumePrefix(&rest, "http://");
  absl::ConsumeSuffix(&rest, "/");
  if (absl::ConsumeSuffix(&rest, "/v1")) absl::ConsumeSuffix(&rest, "/");  // as clients of OpenAI's write a base URL
  const size_t bracket = rest.rfind(']');
  const size_t colon = rest.rfind(':');
  const bool has_port = colon != absl::string_view::npos && (bracket == absl::string_view::npos || colon > bracket);
  absl::string_view host = has_port ? rest.substr(0, colon) : rest;
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  server.host = std::string(host);
  server.port = has_port ? std::string(rest.substr(colon + 1)) : server.tls ? "443" : "80";
  int port = 0;
  if (server.host.empty() || absl::StrContains(server.host, "/") || !absl::SimpleAtoi(server.port, &port) || port < 1 ||
      port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("'", url, "' is not http://host:port or https://host:port"));
  }
  return server;
}

absl::StatusOr<std::unique_ptr<HttpClient>> HttpClient::Create(const HttpServer& server) {
  if (!server.tls) return std::unique_ptr<HttpClient>(std::make_unique<Client<PlainStream>>(server, nullptr));
  auto context = std::make_unique<ssl::context>(ssl::context::tls_client);
  error_code error;
  context->set_verify_mode(ssl::verify_peer, error);
  if (server.ca_file.empty()) {
    context->set_default_verify_paths(error);
  } else {
    context->load_verify_file(server.ca_file, error);
  }
  if (error) return absl::InvalidArgumentError(absl::StrCat(server.ca_file, ": ", error.message()));
  return std::unique_ptr<HttpClient>(std::make_unique<Client<TlsStream>>(server, std::move(context)));
}

}  // namespace quire::batch
