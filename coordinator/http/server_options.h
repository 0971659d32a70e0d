// The limits of the HTTP edge. Plain data.
#ifndef QUIRE_COORDINATOR_HTTP_SERVER_OPTIONS_H_
#define QUIRE_COORDINATOR_HTTP_SERVER_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/access/tls_files.h"

namespace quire::http {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 8000;       // 0 = any free port, see HttpServer::port
  access::TlsFiles tls;  // disabled: clear text
  int num_threads = 2;
  int max_connections = 4096;
  std::vector<std::string> allowed_origins;  // see Gate

  size_t max_header_bytes = 16 << 10;
  uint64_t max_body_bytes = 4 << 20;
  // Bodies that are received or not parsed yet, of all connections together.
  int64_t max_body_bytes_together = 256 << 20;
  // A body up to this is handled on the thread that read it, a larger one by the pool.
  size_t inline_body_bytes = 16 << 10;
  int pool_threads = 2;
  size_t pool_queue_max = 256;

  // Told of every answer, with its route's path ("none" if it got to no route), its method ("other" if it is no usual one)
  // and its status; 499: the client left before. Called on the server's threads; may be null.
  std::function<void(absl::string_view route, absl::string_view method, int status)> on_answer;

  absl::Duration header_timeout = absl::Seconds(10);  // from its first byte, or from the connection's start
  absl::Duration body_timeout = absl::Seconds(60);
  absl::Duration idle_timeout = absl::Seconds(75);   // between requests
  absl::Duration stall_timeout = absl::Seconds(30);  // a client that takes nothing of what is written for it
  absl::Duration ping_period = absl::Seconds(15);    // of silence in a stream
  // With certificates of clients, which are looked at only when a connection begins: a later answer is its last.
  absl::Duration connection_age = absl::Minutes(30);
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_SERVER_OPTIONS_H_
