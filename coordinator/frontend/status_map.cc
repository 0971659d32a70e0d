#include "coordinator/frontend/status_map.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "coordinator/engine/admission.h"
#include "coordinator/frontend/field_error.h"

namespace quire::frontend {
namespace {

constexpr size_t kMessageBytesMax = 1024;
// Spread, so that the refused do not all come back in the same millisecond.
constexpr double kSpread = 0.5;  // of the hint, either way
constexpr int kRetryMs = 500;    // where nobody knows better

}  // namespace

std::map<std::string, std::string> ErrorTrailers(const absl::Status& status) {
  std::map<std::string, std::string> trailers;
  if (const std::string field = ErrorField(status); !field.empty()) trailers["error-param"] = field;
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) {
    int ms = kRetryMs;
    const absl::optional<absl::Cord> hint = status.GetPayload(engine::kRetryAfterPayload);
    if (hint.has_value() && absl::SimpleAtoi(std::string(*hint), &ms)) trailers["retry-after-ms"] = absl::StrCat(ms);
    absl::BitGen random;
    trailers["grpc-retry-pushback-ms"] = absl::StrCat(absl::Uniform<int>(
        absl::IntervalClosed, random, static_cast<int>(ms * (1 - kSpread)), static_cast<int>(ms * (1 + kSpread))));
  }
  return trailers;
}

grpc::Status ToGrpcStatus(const absl::Status& status, grpc::ServerContextBase* context) {
  if (status.ok()) return grpc::Status::OK;
  for (const auto& [key, value] : ErrorTrailers(status)) context->AddTrailingMetadata(key, value);
  // status.code() folds numbers that absl does not know into kUnknown; the known ones are gRPC's.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMessageBytesMax)));
}

}  // namespace quire::frontend
