// Who may call this process, as its flags say: keys, TLS, and whether listening without either was meant. Main thread.
#ifndef QUIRE_COORDINATOR_EDGE_ACCESS_H_
#define QUIRE_COORDINATOR_EDGE_ACCESS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/access/key_ring.h"
#include "coordinator/access/tls_files.h"
#include "coordinator/http/routes.h"

namespace quire {

// The same for both edges.
struct EdgeAccess {
  std::shared_ptr<const access::KeyRing> keys;  // null: --api_key_file is not given
  access::TlsFiles tls;
  http::AuthPolicy metrics = http::AuthPolicy::kKey;  // of /metrics
  std::string description;                            // for the line that says what is open
};

// Errors: FAILED_PRECONDITION --host is open to strangers; those of CheckTlsFiles and KeyRing::Open.
absl::StatusOr<EdgeAccess> OpenEdgeAccess();

}  // namespace quire

#endif  // QUIRE_COORDINATOR_EDGE_ACCESS_H_
