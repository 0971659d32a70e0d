#include "coordinator/http/routes.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace quire::http {
namespace {

bool Matches(const Route& route, absl::string_view path) {
  if (route.path == path) return true;
  const bool prefix = route.path.size() > 1 && route.path.back() == '/';
  return prefix && path.size() > route.path.size() && absl::StartsWith(path, route.path);
}

}  // namespace

Route::Route(std::string method, std::string path, AuthPolicy policy, RouteHandler handler)
    : method(std::move(method)), path(std::move(path)), policy(policy), handler(std::move(handler)) {}

RouteTable::RouteTable(std::vector<Route> routes) : routes_(std::move(routes)) {
  for (const Route& route : routes_) {
    CHECK(route.method == "GET" || route.method == "POST") << route.method << " " << route.path;
    CHECK(absl::StartsWith(route.path, "/")) << route.path;
    CHECK(Find(route.method, route.path) == &route) << route.method << " " << route.path << " is there twice";
  }
}

const Route* RouteTable::Find(absl::string_view method, absl::string_view path) const {
  const absl::string_view wanted = method == "HEAD" ? "GET" : method;
  for (const Route& route : routes_) {
    if (route.method == wanted && Matches(route, path)) return &route;
  }
  return nullptr;
}

std::string RouteTable::Allowed(absl::string_view path) const {
  std::string allowed;
  for (const Route& route : routes_) {
    if (!Matches(route, path)) continue;
    absl::StrAppend(&allowed, allowed.empty() ? "" : ", ", route.method == "GET" ? "GET, HEAD" : route.method);
  }
  return allowed;
}

}  // namespace quire::http
