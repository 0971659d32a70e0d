// The HTTP/1.1 server of the coordinator: sockets, limits, streams. What it serves is in the routes it is given.
//
// Threads: `num_threads` of its own serve the sockets, a few more handle large bodies; handlers run on them and must not
// block. Start, Drain and Shutdown are called by the thread that owns the server.
// Invariants:
//   H1  Nothing is answered before Start returned OK, nothing after Shutdown returned.
//   H2  Everything that a client can make it hold has a limit: connections, headers, bodies, what is read ahead, what
//       waits to be written (see connection.h, exchange.h).
//   H3  Whoever holds an Exchange must let it go before the server dies: stop the engine first.
#ifndef QUIRE_COORDINATOR_HTTP_SERVER_H_
#define QUIRE_COORDINATOR_HTTP_SERVER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/http/routes.h"
#include "coordinator/http/server_options.h"

namespace quire::http {

class HttpServer {
 public:
  // Listens and serves. Without an authenticator there are no keys and everybody is access::Caller(). Errors:
  // INVALID_ARGUMENT port out of range; FAILED_PRECONDITION the address cannot be listened on, with host:port; those of
  // CheckTlsFiles.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, std::vector<Route> routes,
                                                           std::shared_ptr<const access::Authenticator> authenticator);

  ~HttpServer();  // Shutdown(0)

  // The port that it listens on; differs from the option only if that was 0.
  int port() const;

  int num_connections() const;
  // Of bodies that are received or not parsed yet.
  int64_t body_bytes() const;

  // From here on every answer is the last of its connection, so that clients go elsewhere. Idempotent.
  void Drain();

  // No new connections; those without a request close, requests under way may be answered within `grace` and are then
  // cut off; returns when all have ended. Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_SERVER_H_
