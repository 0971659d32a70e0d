// quire.v1.Generator over the API: parse, prepare, stream.
//
// Threads: gRPC's own (callback API); nothing here blocks on the engine.
#ifndef QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
#define QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_

#include <memory>

namespace grpc {
class Service;
}

namespace quire::frontend {

class Api;

// The API must outlive the service.
std::unique_ptr<grpc::Service> MakeGeneratorService(Api* api);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
