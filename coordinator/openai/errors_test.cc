#include "coordinator/openai/errors.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/cord.h"
#include "coordinator/engine/admission.h"
#include "coordinator/frontend/field_error.h"

namespace quire::openai {
namespace {

using nlohmann::json;

struct Row {
  absl::StatusCode code;
  const char* field;
  int http_status;
  const char* type;
  json openai_code;
};

TEST(ErrorsTest, EveryStatusHasItsPlace) {
  using Code = absl::StatusCode;
  const Row rows[] = {
      {Code::kInvalidArgument, "top_p", 400, "invalid_request_error", nullptr},
      {Code::kOutOfRange, "", 400, "invalid_request_error", nullptr},
      {Code::kFailedPrecondition, "prompt", 400, "invalid_request_error", nullptr},
      {Code::kUnauthenticated, "", 401, "invalid_request_error", "invalid_api_key"},
      {Code::kPermissionDenied, "", 403, "invalid_request_error", nullptr},
      {Code::kNotFound, "model", 404, "invalid_request_error", "model_not_found"},
      {Code::kNotFound, "", 404, "invalid_request_error", nullptr},
      {Code::kAlreadyExists, "request_id", 409, "invalid_request_error", nullptr},
      {Code::kResourceExhausted, "", 429, "rate_limit_error", "rate_limit_exceeded"},
      {Code::kResourceExhausted, "messages", 400, "invalid_request_error", nullptr},
      {Code::kCancelled, "", 499, "server_error", nullptr},
      {Code::kUnimplemented, "x", 400, "invalid_request_error", nullptr},
      {Code::kUnimplemented, "", 501, "invalid_request_error", nullptr},
      {Code::kInternal, "", 500, "server_error", nullptr},
      {Code::kUnknown, "", 500, "server_error", nullptr},
      {Code::kDataLoss, "", 500, "server_error", nullptr},
      {Code::kUnavailable, "", 503, "server_error", nullptr},
      {Code::kAborted, "", 503, "server_error", nullptr},
      {Code::kDeadlineExceeded, "", 504, "server_error", nullptr},
  };
  for (const Row& row : rows) {
    absl::Status status(row.code, "what went wrong");
    if (*row.field != '\0') status = frontend::WithErrorField(status, row.field);
    EXPECT_EQ(HttpStatus(status), row.http_status) << status;
    const json error = json::parse(ErrorBody(status)).at("error");
    EXPECT_EQ(error.size(), 4u);
    EXPECT_EQ(error.at("message"), "what went wrong");
    EXPECT_EQ(error.at("type"), row.type) << status;
    EXPECT_EQ(error.at("code"), row.openai_code) << status;
    EXPECT_EQ(error.at("param"), *row.field == '\0' ? json() : json(row.field));
  }
  EXPECT_EQ(HttpStatus(absl::OkStatus()), 200);
}

TEST(ErrorsTest, ContextLength) {
  const auto status = frontend::WithErrorCode(
      frontend::FieldError(absl::StatusCode::kInvalidArgument, "messages", "is long."), "context_length_exceeded");
  EXPECT_EQ(json::parse(ErrorBody(status)).at("error").at("code"), "context_length_exceeded");
}

TEST(ErrorsTest, MessagesAreCutAndWhole) {
  const std::string bytes(2000, '\xE4');
  const json error = json::parse(ErrorBody(absl::InternalError(bytes))).at("error");
  EXPECT_EQ(error.at("message").get<std::string>().size(), 3 * 1024u);  // each bad byte becomes U+FFFD
  EXPECT_EQ(json::parse(ErrorBody(413, "too big", "", "x")).at("error").at("code"), "x");
}

TEST(ErrorsTest, AnEventOfAStream) {
  const std::string event = ErrorEvent(absl::UnavailableError("gone\naway"));
  ASSERT_EQ(event.substr(0, 6), "data: ");
  ASSERT_EQ(event.find('\n'), event.size() - 2);
  EXPECT_EQ(json::parse(event.substr(6)).at("error").at("message"), "gone\naway");
}

TEST(ErrorsTest, WhenToComeBack) {
  absl::Status busy = absl::ResourceExhaustedError("full");
  busy.SetPayload(engine::kRetryAfterPayload, absl::Cord("4000"));
  bool differ = false;
  const int64_t first = RetryAfterMs(busy);
  for (int i = 0; i < 100; ++i) {
    const int64_t ms = RetryAfterMs(busy);
    EXPECT_GE(ms, 2000);
    EXPECT_LE(ms, 6000);
    differ = differ || ms != first;
  }
  EXPECT_TRUE(differ);
  EXPECT_GE(RetryAfterMs(absl::UnavailableError("draining")), 250);
  EXPECT_EQ(RetryAfterMs(absl::InvalidArgumentError("no")), -1);
  EXPECT_EQ(RetryAfterMs(frontend::WithErrorField(absl::ResourceExhaustedError("slow"), "messages")), -1);
  EXPECT_EQ(RetryAfterSeconds(0), 1);
  EXPECT_EQ(RetryAfterSeconds(1000), 1);
  EXPECT_EQ(RetryAfterSeconds(1001), 2);
}

}  // namespace
}  // namespace quire::openai
