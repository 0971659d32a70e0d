#include "coordinator/frontend/parse_request.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/text/utf8.h"

namespace quire::frontend {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// The path of the first string field of `fields`, read as `type`, that is not UTF-8; empty if none. Recursion is
// bounded by the depth of our message types, which do not nest in themselves.
std::string FindBadString(const UnknownFieldSet& fields, const Descriptor& type, const std::string& prefix) {
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    const FieldDescriptor* descriptor = type.FindFieldByNumber(field.number());
    if (descriptor == nullptr || field.type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string path = absl::StrCat(prefix, descriptor->name());
    const std::string& bytes = field.length_delimited();
    if (descriptor->type() == FieldDescriptor::TYPE_STRING) {
      if (text::FindInvalidUtf8(bytes) != absl::string_view::npos) return path;
    } else if (descriptor->type() == FieldDescriptor::TYPE_MESSAGE) {
      UnknownFieldSet inner;
      if (!inner.ParseFromString(bytes)) continue;
      const std::string found = FindBadString(inner, *descriptor->message_type(), absl::StrCat(path, "."));
      if (!found.empty()) return found;
    }
  }
  return "";
}

// A field that was sent and that `message` has no place for: of a number that its type does not know, or encoded as
// another type. OK if there is none. Recursion is bounded as above.
absl::Status RefuseUnknown(const google::protobuf::Message& message, const std::string& prefix) {
  const Descriptor& type = *message.GetDescriptor();
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    const int number = unknown.field(0).number();
    const FieldDescriptor* known = type.FindFieldByNumber(number);
    const std::string path = absl::StrCat(prefix, known == nullptr ? absl::StrCat(number) : known->name());
    return FieldError(absl::StatusCode::kInvalidArgument, path,
                      known == nullptr ? absl::StrCat("is a field number of ", type.full_name(),
                                                      " that this server does not know; leave it unset.")
                                       : "is encoded as another type than the protocol's.");
  }
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      const google::protobuf::Message& inner = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                                    : reflection.GetMessage(message, field);
      absl::Status status = RefuseUnknown(inner, absl::StrCat(prefix, field->name(), "."));
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) {
  {
    grpc::ByteBuffer view = bytes;  // shares the bytes
    grpc::ProtoBufferReader reader(&view);
    if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return RefuseUnknown(*message, "");
  }
  const Descriptor& type = *message->GetDescriptor();
  grpc::ByteBuffer view = bytes;
  grpc::ProtoBufferReader reader(&view);
  UnknownFieldSet fields;
  if (reader.status().ok() && fields.ParseFromZeroCopyStream(&reader)) {
    const std::string path = FindBadString(fields, type, "");
    if (!path.empty()) return FieldError(absl::StatusCode::kInvalidArgument, path, "must be valid UTF-8.");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the message of ", bytes.Length(), " bytes is not an encoding of ", type.full_name(), "."));
}

}  // namespace quire::frontend
