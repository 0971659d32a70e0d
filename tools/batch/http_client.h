// One connection to an HTTP server, kept between requests. Beast stays in the .cc file.
//
// Threads: one thread calls Post; Cancel may be called on any.
#ifndef QUIRE_TOOLS_BATCH_HTTP_CLIENT_H_
#define QUIRE_TOOLS_BATCH_HTTP_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace quire::batch {

struct HttpServer {
  std::string host;
  std::string port;
  bool tls = false;
  std::string ca_file;  // PEM; empty = the system's
  std::string api_key;  // empty = none
};

// "http://host:port", "https://host[:port]", "host:port". Errors: kInvalidArgument.
absl::StatusOr<HttpServer> ParseServerUrl(const std::string& url);

struct HttpReply {
  int status = 0;
  std::string request_id;      // X-Request-Id
  absl::Duration retry_after;  // Retry-After or retry-after-ms; negative = none
  std::string body;
};

class HttpClient {
 public:
  // Errors: kInvalidArgument if ca_file cannot be read.
  static absl::StatusOr<std::unique_ptr<HttpClient>> Create(const HttpServer& server);
  virtual ~HttpClient() = default;

  // Sends `body` as JSON and waits for the whole answer. Errors: kUnavailable if there is no connection or it broke,
  // kDeadlineExceeded after `timeout`, kResourceExhausted for an answer over 256 MiB, kCancelled after Cancel.
  virtual absl::StatusOr<HttpReply> Post(const std::string& path, const std::string& body, absl::Duration timeout) = 0;

  // Ends a Post that runs, and every later one.
  virtual void Cancel() = 0;
};

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_HTTP_CLIENT_H_
