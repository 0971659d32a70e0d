// quire.v1.Generator over the API: authenticate, parse, prepare, stream.
//
// Threads: gRPC's own (callback API); nothing here blocks on the engine.
// Invariants:
//   S1  Every method asks who calls before it looks at a byte of the message.
#ifndef QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
#define QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_

#include <memory>

#include "coordinator/access/authenticator.h"

namespace grpc {
class Service;
}

namespace quire::frontend {

class Api;

// The API must outlive the service. Without an authenticator everybody is access::Caller().
std::unique_ptr<grpc::Service> MakeGeneratorService(Api* api,
                                                    std::shared_ptr<const access::Authenticator> authenticator);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
