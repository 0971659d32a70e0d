#include "coordinator/openai/errors.h"

#include "absl/random/random.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "coordinator/engine/admission.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/json_writer.h"

namespace quire::openai {
namespace {

constexpr size_t kMessageBytesMax = 1024;
constexpr int64_t kRetryMs = 500;  // where nobody knows better
constexpr double kSpread = 0.5;    // of the hint, either way

const char* TypeOf(int http_status) {
  if (http_status == 429) return "rate_limit_error";
  return http_status < 499 || http_status == 501 ? "invalid_request_error" : "server_error";
}

std::string CodeOf(int http_status, const absl::Status& status) {
  if (http_status == 401) return "invalid_api_key";
  if (http_status == 429) return "rate_limit_exceeded";
  if (http_status == 404 && frontend::ErrorField(status) == "model") return "model_not_found";
  return frontend::ErrorCode(status);
}

std::string QuotedOrNull(absl::string_view text) { return text.empty() ? "null" : Quoted(text); }

}  // namespace

int HttpStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return frontend::ErrorField(status).empty() ? 429 : 400;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return frontend::ErrorField(status).empty() ? 501 : 400;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string ErrorBody(int http_status, absl::string_view message, absl::string_view param, absl::string_view code) {
  return absl::StrCat(R"({"error":{"message":)", Quoted(message.substr(0, kMessageBytesMax)), R"(,"type":")",
                      TypeOf(http_status), R"(","param":)", QuotedOrNull(param), R"(,"code":)", QuotedOrNull(code),
                      "}}");
}

std::string ErrorBody(const absl::Status& status) {
  const int http_status = HttpStatus(status);
  return ErrorBody(http_status, status.message(), frontend::ErrorField(status), CodeOf(http_status, status));
}

std::string ErrorEvent(const absl::Status& status) { return absl::StrCat("data: ", ErrorBody(status), "\n\n"); }

int64_t RetryAfterMs(const absl::Status& status) {
  const int http_status = HttpStatus(status);
  if (http_status != 429 && http_status != 503) return -1;
  int64_t ms = kRetryMs;
  const absl::optional<absl::Cord> hint = status.GetPayload(engine::kRetryAfterPayload);
  if (hint.has_value() && !absl::SimpleAtoi(std::string(*hint), &ms)) ms = kRetryMs;
  absl::BitGen random;
  return absl::Uniform<int64_t>(absl::IntervalClosed, random,
                                static_cast<int64_t>(static_cast<double>(ms) * (1 - kSpread)),
                                static_cast<int64_t>(static_cast<double>(ms) * (1 + kSpread)));
}

int64_t RetryAfterSeconds(int64_t retry_after_ms) { return retry_after_ms <= 1000 ? 1 : (retry_after_ms + 999) / 1000; }

}  // namespace quire::openai
