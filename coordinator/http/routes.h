// The routes of the HTTP edge: one table, nothing is served beside it.
//
// Plain data; the table does not change once it is made.
// Invariants:
//   R1  A route cannot be made without a policy: nothing is open because somebody forgot to close it.
//   R2  A method and path belong to one route. Paths are compared as decoded, whole and with case.
#ifndef QUIRE_COORDINATOR_HTTP_ROUTES_H_
#define QUIRE_COORDINATOR_HTTP_ROUTES_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/http/exchange.h"

namespace quire::http {

// Who may call.
enum class AuthPolicy {
  kOpen,  // everybody who reaches the port: tells nothing of requests or tenants
  kKey,   // whoever has a key, if the server has keys
};

using RouteHandler = std::function<void(std::shared_ptr<Exchange>)>;

struct Route {
  Route(std::string method, std::string path, AuthPolicy policy, RouteHandler handler);

  std::string method;  // GET (serves HEAD, too) or POST
  std::string path;    // "/v1/models"; one that ends in '/' and is longer serves all paths that begin with it
  AuthPolicy policy;
  RouteHandler handler;
};

class RouteTable {
 public:
  // Requires: R2.
  explicit RouteTable(std::vector<Route> routes);

  // Null if there is none.
  const Route* Find(absl::string_view method, absl::string_view path) const;
  // The methods that the path has, for a header `Allow`: "GET, HEAD"; empty if there is no such path.
  std::string Allowed(absl::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }

 private:
  const std::vector<Route> routes_;
};

}  // namespace quire::http

#endif  // QUIRE_COORDINATOR_HTTP_ROUTES_H_
