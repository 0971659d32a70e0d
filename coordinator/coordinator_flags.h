// The flags of the coordinator process: checked in one place, then handed to its parts as options. Main thread only.
#ifndef QUIRE_COORDINATOR_COORDINATOR_FLAGS_H_
#define QUIRE_COORDINATOR_COORDINATOR_FLAGS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/cluster/grpc_worker_group.h"
#include "coordinator/engine/engine.h"
#include "coordinator/frontend/api_options.h"
#include "coordinator/frontend/server.h"
#include "coordinator/http/server_options.h"

namespace quire {

inline constexpr char kVersion[] = "0.1.0";
inline constexpr char kFlagsFile[] = "coordinator/coordinator_flags.cc";  // whose flags --help shows

// All flags with their values, on one line.
std::string EffectiveFlags();

// Errors: INVALID_ARGUMENT naming the flag, its value and the limit.
absl::Status CheckFlags();

// The rest requires: CheckFlags found nothing wrong.

std::string ServedModelName();

// One for each replica. Errors: INVALID_ARGUMENT of --workers or --tensor_parallel_size.
absl::StatusOr<std::vector<cluster::GrpcWorkerGroupOptions>> GroupOptions();
engine::EngineOptions EngineOptions();
frontend::ApiOptions ApiOptions();
frontend::ServerOptions ServerOptions();
// Requires: --port is not -1.
http::HttpServerOptions HttpOptions();

}  // namespace quire

#endif  // QUIRE_COORDINATOR_COORDINATOR_FLAGS_H_
