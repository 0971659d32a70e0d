#include "tools/batch/fake_server.h"

#include <glog/logging.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace quire::batch {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

class FakeServer::Impl {
 public:
  Impl(std::function<FakeReply(const FakeRequest&)> answer, int port)
      : answer_(std::move(answer)),
        acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), static_cast<uint16_t>(port))) {
    port_ = acceptor_.local_endpoint().port();
    accepter_ = std::thread([this] { Accept(); });
  }

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      for (int fd : open_) shutdown(fd, SHUT_RDWR);
    }
    shutdown(acceptor_.native_handle(), SHUT_RDWR);
    accepter_.join();
    for (std::thread& thread : threads_) thread.join();
  }

  int port() const { return port_; }

 private:
  void Accept() {
    while (true) {
      tcp::socket socket(context_);
      error_code error;
      acceptor_.accept(socket, error);
      if (error) return;
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      open_.insert(socket.native_handle());
      threads_.emplace_back([this, s = std::move(socket)]() mutable { Serve(&s); });
    }
  }

  void Serve(tcp::socket* socket) {
    boost::beast::flat_buffer buffer;
    while (ServeOne(socket, &buffer)) {
    }
    absl::MutexLock lock(&mutex_);
    open_.erase(socket->native_handle());
    error_code ignored;
    socket->close(ignored);
  }

  bool ServeOne(tcp::socket* socket, boost::beast::flat_buffer* buffer) {
    error_code error;
    http::request<http::string_body> request;
    http::read(*socket, *buffer, request, error);
    if (error) return false;
    const FakeReply reply =
        answer_({std::string(request.target()), request.body(), std::string(request["authorization"])});
    const auto stopping = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_; };
    if (mutex_.LockWhenWithTimeout(absl::Condition(&stopping), reply.delay) || reply.hang_up) {
      mutex_.Unlock();
      return false;
    }
    mutex_.Unlock();
    http::response<http::string_body> response(static_cast<http::status>(reply.status), 11);
    for (const auto& [name, value] : reply.headers) response.set(name, value);
    response.body() = reply.body;
    response.keep_alive(reply.keep_alive);
    response.prepare_payload();
    http::write(*socket, response, error);
    return !error && reply.keep_alive;
  }

  const std::function<FakeReply(const FakeRequest&)> answer_;
  asio::io_context context_;
  tcp::acceptor acceptor_;
  int port_ = 0;
  std::thread accepter_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<int> open_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;  // grown by accepter_ alone
};

FakeServer::FakeServer(std::function<FakeReply(const FakeRequest&)> answer, int port)
    : impl_(std::make_unique<Impl>(std::move(answer), port)) {}

FakeServer::~FakeServer() = default;

int FakeServer::port() const { return impl_->port(); }

std::string FakeServer::url() const { return absl::StrCat("http://127.0.0.1:", port()); }

}  // namespace quire::batch
