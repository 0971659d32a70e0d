#include "coordinator/frontend/parse_request.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <string>

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

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* message) {
  {
    grpc::ByteBuffer view = bytes;  // shares the bytes
    grpc::ProtoBufferReader reader(&view);
    if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
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
