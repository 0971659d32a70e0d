// The gRPC server of the coordinator: quire.v1.Generator, grpc.health.v1 ("" = alive, "ready" = forward progress) and
// reflection.
//
// Threads: gRPC's own run the handlers; one thread of ours copies Api::Ready() into the health service. Start and
// Shutdown are called by the thread that owns the server.
// Invariants:
//   F1  Nothing is answered before Start returned OK, nothing after Shutdown returned.
//   F2  A port that another process listens on is an error that names host and port; the port is never shared.
//   F3  Messages over 4 MiB are refused with RESOURCE_EXHAUSTED before they are parsed.
//   F4  With an authenticator every method of Generator needs a key. Health and reflection are open: they tell that the
//       process is alive and what the published proto says, nothing of requests or tenants.
//   F5  With TLS files nothing is served in clear text. Files that are replaced count for new connections; an old one
//       lives kConnectionAge and then no longer than its calls, and they kConnectionGrace at most, so that a client
//       certificate that is no longer accepted does not go on for ever. (Keys are checked at every call.)
#ifndef QUIRE_COORDINATOR_FRONTEND_SERVER_H_
#define QUIRE_COORDINATOR_FRONTEND_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/access/tls_files.h"

namespace quire::frontend {

class Api;

inline constexpr int kMaxReceiveBytes = 4 << 20;  // about a million token ids
inline constexpr char kReadyService[] = "ready";  // the health service's name for forward progress
inline constexpr absl::Duration kConnectionAge = absl::Minutes(30);
// Longer than any stream: a context of 128 Ki tokens at 3 tokens per second ends within.
inline constexpr absl::Duration kConnectionGrace = absl::Hours(12);

struct ServerOptions {
  std::string host = "127.0.0.1";
  int port = 50051;                                            // 0 = any free port, see Server::port
  int max_concurrent_streams = 4096;                           // per connection
  std::shared_ptr<const access::Authenticator> authenticator;  // null: everybody may call
  access::TlsFiles tls;                                        // disabled: clear text
};

class Server {
 public:
  // Listens and serves. The API must outlive the server. Errors: INVALID_ARGUMENT port out of range;
  // FAILED_PRECONDITION the address cannot be listened on, with host:port. Requires: CheckTlsFiles of the files.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options, Api* api);

  ~Server();  // Shutdown(0)

  // The port that it listens on; differs from the option only if that was 0.
  int port() const;

  // "ready" becomes NOT_SERVING at once; everything else goes on. Idempotent.
  void SetNotReady();

  // As SetNotReady; new calls are refused, running ones may end within `grace` and are then cancelled; returns when all
  // have ended. Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_SERVER_H_
