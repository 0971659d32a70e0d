#include "coordinator/http/stream.h"

#include <openssl/ssl.h>

#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace quire::http {
namespace {

using boost::asio::ip::tcp;

class PlainStream final : public Stream {
 public:
  explicit PlainStream(tcp::socket socket) : socket_(std::move(socket)) {}

  void Start(std::function<void(bool ok)> done) override { done(true); }
  void ReadSome(boost::asio::mutable_buffer to, Handler done) override { socket_.async_read_some(to, std::move(done)); }
  void WriteSome(boost::asio::const_buffer from, Handler done) override {
    socket_.async_write_some(from, std::move(done));
  }
  void ShutdownSend(std::shared_ptr<void>) override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
  }
  void Close() override {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }

 private:
  tcp::socket socket_;
};

class TlsStream final : public Stream {
 public:
  // asio's context owns a reference of its own to OpenSSL's, which is counted.
  TlsStream(tcp::socket socket, SSL_CTX* context)
      : context_((SSL_CTX_up_ref(context), context)), stream_(std::move(socket), context_) {}

  void Start(std::function<void(bool ok)> done) override {
    stream_.async_handshake(boost::asio::ssl::stream_base::server,
                            [done = std::move(done)](const boost::system::error_code& error) { done(!error); });
  }
  void ReadSome(boost::asio::mutable_buffer to, Handler done) override { stream_.async_read_some(to, std::move(done)); }
  void WriteSome(boost::asio::const_buffer from, Handler done) override {
    stream_.async_write_some(from, std::move(done));
  }
  void ShutdownSend(std::shared_ptr<void> owner) override {
    stream_.async_shutdown([owner = std::move(owner)](const boost::system::error_code&) {});
  }
  void Close() override {
    boost::system::error_code ignored;
    stream_.next_layer().close(ignored);
  }

 private:
  boost::asio::ssl::context context_;
  boost::asio::ssl::stream<tcp::socket> stream_;
};

}  // namespace

std::unique_ptr<Stream> MakeTlsStream(tcp::socket socket, std::shared_ptr<SSL_CTX> context) {
  return std::make_unique<TlsStream>(std::move(socket), context.get());
}

std::unique_ptr<Stream> MakePlainStream(tcp::socket socket) { return std::make_unique<PlainStream>(std::move(socket)); }

}  // namespace quire::http
