#include "coordinator/frontend/parse_request.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "absl/strings/match.h"
#include "coordinator/frontend/field_error.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownFieldSet;

grpc::ByteBuffer Bytes(const std::string& text, size_t cut) {
  const grpc::Slice slices[] = {grpc::Slice(text.substr(0, cut)), grpc::Slice(text.substr(cut))};
  return grpc::ByteBuffer(slices, 2);
}

// Serialising a bad string works, parsing it does not; protobuf complains about both on stderr.
class ParseRequestTest : public ::testing::Test {
 protected:
  ParseRequestTest() : old_(google::protobuf::SetLogHandler(nullptr)) {}
  ~ParseRequestTest() override { google::protobuf::SetLogHandler(old_); }

 private:
  google::protobuf::LogHandler* const old_;
};

TEST_F(ParseRequestTest, GoodBytesInSeveralSlices) {
  v1::GenerateRequest in;
  in.set_text("hello");
  in.mutable_sampling_params()->set_top_p(0.5f);
  const std::string bytes = in.SerializeAsString();
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    v1::GenerateRequest out;
    ASSERT_TRUE(ParseRequest(Bytes(bytes, cut), &out).ok());
    EXPECT_EQ(out.text(), "hello");
    EXPECT_EQ(out.sampling_params().top_p(), 0.5f);
  }
}

TEST_F(ParseRequestTest, NoBytesAreAnEmptyMessage) {
  v1::GetLoadsRequest out;
  EXPECT_TRUE(ParseRequest(Bytes("", 0), &out).ok());
}

TEST_F(ParseRequestTest, BadUtf8IsRefusedByName) {
  v1::GenerateRequest in;
  in.mutable_sampling_params()->add_stop("fine");
  in.mutable_sampling_params()->add_stop("\xff");
  v1::GenerateRequest out;
  absl::Status status = ParseRequest(Bytes(in.SerializeAsString(), 3), &out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "sampling_params.stop must be valid UTF-8.");
  EXPECT_EQ(ErrorField(status), "sampling_params.stop");
  v1::GenerateRequest text;
  text.set_text("\xed\xa0\x80");
  EXPECT_EQ(ErrorField(ParseRequest(Bytes(text.SerializeAsString(), 0), &out)), "text");
}

TEST_F(ParseRequestTest, EveryCutAndEveryFlippedByteIsAStatusNotACrash) {
  v1::GenerateRequest in;
  in.set_request_id("r");
  in.mutable_tokenized()->add_input_ids(300);
  in.mutable_sampling_params()->add_stop("x");
  (*in.mutable_sampling_params()->mutable_logit_bias())[5] = 1;
  const std::string bytes = in.SerializeAsString();
  int refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    v1::GenerateRequest out;
    if (!ParseRequest(Bytes(bytes.substr(0, i), 0), &out).ok()) ++refused;
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = bytes;
      flipped[i] = static_cast<char>(flipped[i] ^ (1 << bit));
      const absl::Status status = ParseRequest(Bytes(flipped, i), &out);
      if (status.ok()) continue;
      ++refused;
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_FALSE(status.message().empty());
    }
  }
  EXPECT_GT(refused, 20);
}

// Calls `check` with the path of every field of a request, its descriptor, and a function that wraps bytes of its message
// into a request.
using Wrap = std::function<std::string(const std::string&)>;
void ForEachField(const Descriptor& type, const std::string& prefix, const Wrap& wrap,
                  const std::function<void(const std::string&, const FieldDescriptor&, const Wrap&)>& check) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = prefix + field.name();
    check(path, field, wrap);
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field.is_map()) continue;
    const Wrap inner = [&field, &wrap](const std::string& bytes) {
      UnknownFieldSet set;
      set.AddLengthDelimited(field.number(), bytes);
      std::string out;
      EXPECT_TRUE(set.SerializeToString(&out));
      return wrap(out);
    };
    ForEachField(*field.message_type(), path + ".", inner, check);
  }
}

TEST_F(ParseRequestTest, EveryFieldOfAnotherTypeIsRefusedByName) {
  int num_fields = 0;
  const auto check = [&](const std::string& path, const FieldDescriptor& field, const Wrap& wrap) {
    ++num_fields;
    UnknownFieldSet set;
    set.AddFixed64(field.number(), 1);  // the protocol has no field of eight fixed bytes in a request
    std::string bytes;
    ASSERT_TRUE(set.SerializeToString(&bytes));
    v1::GenerateRequest out;
    const absl::Status status = ParseRequest(Bytes(wrap(bytes), 0), &out);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_EQ(status.message(), path + " is encoded as another type than the protocol's.");
    EXPECT_EQ(ErrorField(status), path);
  };
  ForEachField(
      *v1::GenerateRequest::descriptor(), "", [](const std::string& bytes) { return bytes; }, check);
  EXPECT_GT(num_fields, 50);
}

TEST_F(ParseRequestTest, AFieldThatNobodyKnowsIsRefusedByNumber) {
  UnknownFieldSet set;
  set.AddVarint(7, 1);  // another server's
  std::string bytes;
  ASSERT_TRUE(set.SerializeToString(&bytes));
  v1::GenerateRequest out;
  absl::Status status = ParseRequest(Bytes(bytes, 0), &out);
  EXPECT_EQ(ErrorField(status), "7");
  EXPECT_EQ(status.message(),
            "7 is a field number of quire.v1.GenerateRequest that this server does not know; leave it unset.");
  v1::GenerateRequest request;
  request.set_text("a");
  request.mutable_sampling_params()
      ->GetReflection()
      ->MutableUnknownFields(request.mutable_sampling_params())
      ->AddVarint(999, 1);
  status = ParseRequest(Bytes(request.SerializeAsString(), 0), &out);
  EXPECT_EQ(ErrorField(status), "sampling_params.999");
}

TEST_F(ParseRequestTest, GarbageNamesTheType) {
  v1::TokenizeRequest out;
  const absl::Status status = ParseRequest(Bytes("\x0a\xff", 0), &out);
  EXPECT_EQ(status.message(), "the message of 2 bytes is not an encoding of quire.v1.TokenizeRequest.");
}

}  // namespace
}  // namespace quire::frontend
