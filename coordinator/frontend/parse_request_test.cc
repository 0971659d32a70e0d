#include "coordinator/frontend/parse_request.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "coordinator/frontend/field_error.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

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

TEST_F(ParseRequestTest, GarbageNamesTheType) {
  v1::TokenizeRequest out;
  const absl::Status status = ParseRequest(Bytes("\x0a\xff", 0), &out);
  EXPECT_EQ(status.message(), "the message of 2 bytes is not an encoding of quire.v1.TokenizeRequest.");
}

}  // namespace
}  // namespace quire::frontend
