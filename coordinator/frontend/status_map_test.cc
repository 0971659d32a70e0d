#include "coordinator/frontend/status_map.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/cord.h"
#include "coordinator/engine/admission.h"
#include "coordinator/frontend/field_error.h"

namespace quire::frontend {
namespace {

TEST(StatusMapTest, CodesKeepTheirNumbers) {
  const std::pair<absl::StatusCode, grpc::StatusCode> pairs[] = {
      {absl::StatusCode::kCancelled, grpc::StatusCode::CANCELLED},
      {absl::StatusCode::kUnknown, grpc::StatusCode::UNKNOWN},
      {absl::StatusCode::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
      {absl::StatusCode::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
      {absl::StatusCode::kNotFound, grpc::StatusCode::NOT_FOUND},
      {absl::StatusCode::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
      {absl::StatusCode::kPermissionDenied, grpc::StatusCode::PERMISSION_DENIED},
      {absl::StatusCode::kUnauthenticated, grpc::StatusCode::UNAUTHENTICATED},
      {absl::StatusCode::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {absl::StatusCode::kFailedPrecondition, grpc::StatusCode::FAILED_PRECONDITION},
      {absl::StatusCode::kAborted, grpc::StatusCode::ABORTED},
      {absl::StatusCode::kOutOfRange, grpc::StatusCode::OUT_OF_RANGE},
      {absl::StatusCode::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
      {absl::StatusCode::kInternal, grpc::StatusCode::INTERNAL},
      {absl::StatusCode::kUnavailable, grpc::StatusCode::UNAVAILABLE},
      {absl::StatusCode::kDataLoss, grpc::StatusCode::DATA_LOSS},
  };
  for (const auto& [from, to] : pairs) {
    grpc::CallbackServerContext context;
    const grpc::Status status = ToGrpcStatus(absl::Status(from, "why"), &context);
    EXPECT_EQ(status.error_code(), to);
    EXPECT_EQ(status.error_message(), "why");
  }
  grpc::CallbackServerContext context;
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus(), &context).ok());
}

TEST(StatusMapTest, TheFieldTravelsInATrailer) {
  const absl::Status status = FieldError(absl::StatusCode::kInvalidArgument, "a.b", "must be 1.");
  EXPECT_EQ(status.message(), "a.b must be 1.");
  EXPECT_EQ(ErrorTrailers(status), (std::map<std::string, std::string>{{"error-param", "a.b"}}));
  EXPECT_TRUE(ErrorTrailers(absl::InternalError("x")).empty());
}

TEST(StatusMapTest, WhatMayPassSoonSaysWhenToComeBack) {
  for (const absl::Status& status : {absl::ResourceExhaustedError("full"), absl::UnavailableError("starting")}) {
    const std::map<std::string, std::string> trailers = ErrorTrailers(status);
    ASSERT_EQ(trailers.count("grpc-retry-pushback-ms"), 1u) << status;
    const int ms = std::atoi(trailers.at("grpc-retry-pushback-ms").c_str());
    EXPECT_GE(ms, 250);
    EXPECT_LE(ms, 750);
  }
}

TEST(StatusMapTest, TheEnginesEstimateIsPassedOn) {
  absl::Status status = absl::ResourceExhaustedError("full");
  status.SetPayload(engine::kRetryAfterPayload, absl::Cord("4000"));
  std::map<std::string, std::string> trailers = ErrorTrailers(status);
  EXPECT_EQ(trailers["retry-after-ms"], "4000");
  const int ms = std::atoi(trailers["grpc-retry-pushback-ms"].c_str());
  EXPECT_GE(ms, 2000);
  EXPECT_LE(ms, 6000);
}

TEST(StatusMapTest, LongMessagesAreCut) {
  grpc::CallbackServerContext context;
  EXPECT_EQ(ToGrpcStatus(absl::InternalError(std::string(5000, 'x')), &context).error_message().size(), 1024u);
}

}  // namespace
}  // namespace quire::frontend
