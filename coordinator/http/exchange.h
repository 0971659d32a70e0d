// One HTTP request and its answer as handlers see them: no type of the transport.
//
// Threads: a handler is called on one of the server's threads; every method of Exchange may be called on any thread,
// also after the handler returned, until the exchange has ended.
// Invariants:
//   X1  An exchange has exactly one answer: Reply, or StartEvents and then End.
//   X2  What waits for a client that reads slowly is bounded by its producer: one WriteEvents at a time, and news that come
//       meanwhile join the next one (as in GenerateStream).
//   X3  `on_gone` is called at most once, on the thread of Post, and never after the end of the answer was handled there.
//   X4  An exchange that nobody holds any more and that has no answer is answered 500.
#ifndef QUIRE_COORDINATOR_HTTP_EXCHANGE_H_
#define QUIRE_COORDINATOR_HTTP_EXCHANGE_H_

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/access/authenticator.h"

namespace quire::http {

struct Request {
  std::string method;  // "GET"
  std::string path;    // "/v1/completions": decoded, without the query
  std::string query;   // as sent, without '?'
  std::string body;
  std::string request_id;                                    // X-Request-Id if it is a valid label, else empty
  std::string traceparent;                                   // W3C, as sent, if well-formed; else empty
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  access::Caller caller;

  // The first value of a header, empty if there is none. `name` in lower case.
  absl::string_view Header(absl::string_view name) const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;
  // Frees the memory of the request's body, which is empty from here on. Call it once the body is parsed: an exchange may
  // live long. Requires: the caller alone looks at the request.
  virtual void ForgetBody() = 0;

  // Runs `task` on the thread that writes this exchange's answer, not before this call has returned.
  virtual void Post(std::function<void()> task) = 0;

  // The whole answer. Requires: nothing was answered yet.
  virtual void Reply(int status, absl::string_view content_type, std::string body, Headers extra = {}) = 0;

  // 200 and the headers of a stream of server-sent events. Requires: nothing was answered yet.
  virtual void StartEvents(Headers extra = {}) = 0;
  // Appends bytes of whole events ("data: ...\n\n"). `written` is called once they are with the kernel (false: the
  // client is gone); one call may be outstanding. Requires: StartEvents.
  virtual void WriteEvents(std::string events, std::function<void(bool ok)> written) = 0;
  // The stream is complete. Requires: no WriteEvents is outstanding.
  virtual void End() = 0;

  // Called when the client closes before the answer has ended. Requires: set at most once, before the handler returns.
  virtual void OnGone(std::function<void()> on_gone) = 0;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_EXCHANGE_H_
