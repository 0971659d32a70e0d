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

// Errors: INVALID_ARGUMENT not an encoding of the message's type. Named (field_error.h) is a string that is not UTF-8, a
// field of another wire type than the protocol's, and one that this server does not know: nothing is ignored.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* message);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_PARSE_REQUEST_H_
