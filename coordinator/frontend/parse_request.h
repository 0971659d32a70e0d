// From the bytes of a call to its message. gRPC's own parsing answers UNIMPLEMENTED without a word to bytes that do not
// parse, so the edge takes raw bytes and says what is wrong with them.
//
// Pure functions, any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_PARSE_REQUEST_H_
#define QUIRE_COORDINATOR_FRONTEND_PARSE_REQUEST_H_

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}
namespace grpc {
class ByteBuffer;
}

namespace quire::frontend {

// Errors: INVALID_ARGUMENT not an encoding of the message's type; a string that is not UTF-8 is named (field_error.h).
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_PARSE_REQUEST_H_
