// What stands between a request's header and its handler: which route it is for, who calls, whether a browser's page of
// another origin may. Knows headers only, so it is asked before a byte of the body is read.
//
// Thread-safe: it does not change.
// Invariants:
//   G1  Default deny: a verdict names a route only if the policy of that very route lets the caller in.
//   G2  What a browser sends on behalf of a page of an origin that is not allowed changes nothing here: it is refused,
//       with or without keys. So no page can use a server on its reader's machine.
#ifndef QUIRE_COORDINATOR_HTTP_GATE_H_
#define QUIRE_COORDINATOR_HTTP_GATE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/http/exchange.h"
#include "coordinator/http/routes.h"

namespace quire::http {

struct Verdict {
  const Route* route = nullptr;  // null: the answer is what follows
  int status = 0;
  std::string body;  // JSON, or empty
  Headers headers;   // of the answer, whoever gives it
};

class Gate {
 public:
  // Without an authenticator everybody is access::Caller(). `allowed_origins`: as browsers send them
  // ("https://chat.example"), or "*" for all.
  Gate(std::vector<Route> routes, std::shared_ptr<const access::Authenticator> authenticator,
       std::vector<std::string> allowed_origins);

  // Judges a request whose method and headers are set; fills path, query, request_id, traceparent and caller.
  Verdict Check(absl::string_view target, Request* request) const;

 private:
  // Adds what a browser must know; false: the origin may not.
  bool CheckOrigin(const Request& request, Headers* headers) const;

  const RouteTable routes_;
  const std::shared_ptr<const access::Authenticator> authenticator_;
  const std::vector<std::string> allowed_origins_;
};

// Splits "/a%20b?q" into "/a b" and "q"; false if it is no target of a request for a path.
bool ParseTarget(absl::string_view target, std::string* path, std::string* query);

// A label as requests may have it: 1 to 128 of [A-Za-z0-9._:-].
bool IsLabel(absl::string_view text);

// https://www.w3.org/TR/trace-context, version 00 and later ones that begin alike.
bool IsTraceparent(absl::string_view text);

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_GATE_H_
