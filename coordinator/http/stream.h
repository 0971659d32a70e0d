// The bytes of one connection, whatever carries them.
//
// Threads: all calls and all handlers on the thread of the socket's io_context.
#ifndef QUIRE_COORDINATOR_HTTP_STREAM_H_
#define QUIRE_COORDINATOR_HTTP_STREAM_H_

#include <openssl/ossl_typ.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <functional>
#include <memory>

namespace quire::http {

class Stream {
 public:
  // Bytes that were moved; an error says that there will be no more.
  using Handler = std::function<void(const boost::system::error_code& error, size_t bytes)>;

  virtual ~Stream() = default;
  // Calls `done` once bytes can be moved, or never can.
  virtual void Start(std::function<void(bool ok)> done) = 0;
  // At most one of each may be outstanding. What the buffer points to must outlive it.
  virtual void ReadSome(boost::asio::mutable_buffer to, Handler done) = 0;
  virtual void WriteSome(boost::asio::const_buffer from, Handler done) = 0;
  // Tells the peer that nothing more comes. Keeps `owner`, which owns this, until that is done. Requires: no write is
  // outstanding.
  virtual void ShutdownSend(std::shared_ptr<void> owner) = 0;
  // Ends everything; outstanding handlers are called with an error. Idempotent.
  virtual void Close() = 0;
};

std::unique_ptr<Stream> MakePlainStream(boost::asio::ip::tcp::socket socket);

// TLS, as `context` has it.
std::unique_ptr<Stream> MakeTlsStream(boost::asio::ip::tcp::socket socket, std::shared_ptr<SSL_CTX> context);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_STREAM_H_
