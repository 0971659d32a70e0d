// quire.v1.Generator over an engine: parse, validate, tokenize, submit, stream.
//
// Threads: gRPC's own (callback API); nothing here blocks on the engine.
#ifndef QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
#define QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_

#include <memory>

#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/server.h"

namespace grpc {
class Service;
}

namespace quire::frontend {

// `tokenizer` may be null. The engine must outlive the service.
std::unique_ptr<grpc::Service> MakeGeneratorService(const ServerOptions& options, engine::Replicas* engine,
                                                    std::shared_ptr<const text::Tokenizer> tokenizer);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_GENERATOR_SERVICE_H_
