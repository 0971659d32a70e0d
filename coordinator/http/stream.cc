#include "coordinator/http/stream.h"

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
  void ShutdownSend() override {
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

}  // namespace

std::unique_ptr<Stream> MakePlainStream(tcp::socket socket) { return std::make_unique<PlainStream>(std::move(socket)); }

}  // namespace quire::http
