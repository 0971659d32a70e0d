#include "coordinator/frontend/status_map.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"

namespace quire::frontend {
namespace {

constexpr size_t kMessageBytesMax = 1024;
// Spread, so that the refused do not all come back in the same millisecond.
constexpr int kRetryMsMin = 250;
constexpr int kRetryMsMax = 750;

}  // namespace

std::map<std::string, std::string> ErrorTrailers(const absl::Status& status) {
  std::map<std::string, std::string> trailers;
  if (const std::string field = ErrorField(status); !field.empty()) trailers["error-param"] = field;
  if (absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) {
    absl::BitGen random;
    trailers["grpc-retry-pushback-ms"] =
        absl::StrCat(absl::Uniform(absl::IntervalClosed, random, kRetryMsMin, kRetryMsMax));
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
