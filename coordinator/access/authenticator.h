// Who calls: the interface between the edges and what they know of their callers.
//
// Plain data and an interface; Authenticate is called on any thread.
// Invariants:
//   A1  Both edges ask before they look at anything else of a call; there is no call without a Caller.
//   A2  What a caller says of itself never becomes part of its Caller: tenant, weight and limits are the server's.
#ifndef QUIRE_COORDINATOR_ACCESS_AUTHENTICATOR_H_
#define QUIRE_COORDINATOR_ACCESS_AUTHENTICATOR_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::access {

struct Caller {
  std::string tenant;                    // empty = the one tenant of a server without keys
  double weight = 1;                     // share of the service against other tenants, > 0
  int64_t max_live_requests = 0;         // of the tenant together, over both edges; 0 = no limit of its own
  uint32_t max_choices = 0;              // n and best_of; 0 = the server's limit
  int64_t max_tokens = 0;                // of one choice's output; 0 = the server's limit
  std::string tenant_class = "default";  // of few: what metrics may name, where there can be any number of tenants
};

class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // `authorization` is the value of the header or metadata entry of that name, empty if there is none.
  // Errors: UNAUTHENTICATED, with a message that tells a client what to send and an attacker nothing.
  virtual absl::StatusOr<Caller> Authenticate(absl::string_view authorization) const = 0;
};

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_AUTHENTICATOR_H_
