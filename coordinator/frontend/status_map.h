// The only place where a Status becomes a gRPC status. Codes keep their numbers; the offending field travels in the
// ASCII trailer `error-param`; when to come back in `retry-after-ms` if the engine has an estimate, and around it, each
// time another, in `grpc-retry-pushback-ms` (gRPC clients with a retry policy obey it).
//
// Pure but for the jitter of the hint; any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_STATUS_MAP_H_
#define QUIRE_COORDINATOR_FRONTEND_STATUS_MAP_H_

#include <map>
#include <string>

#include "absl/status/status.h"

namespace grpc {
class ServerContextBase;
class Status;
}  // namespace grpc

namespace quire::frontend {

// Trailers that explain `status`: `error-param` if it names a field; `grpc-retry-pushback-ms`, and with an estimate
// `retry-after-ms`, if coming back later can help.
std::map<std::string, std::string> ErrorTrailers(const absl::Status& status);

// The status to finish the call with; adds the trailers to `context`. The message is cut to 1 KiB, so that it fits any
// client's metadata. Requires: the call's trailing metadata were not sent.
grpc::Status ToGrpcStatus(const absl::Status& status, grpc::ServerContextBase* context);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_STATUS_MAP_H_
