#include "coordinator/frontend/field_error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace quire::frontend {
namespace {

constexpr char kPayload[] = "quire/error-param";
constexpr char kCodePayload[] = "quire/error-code";

}  // namespace

absl::Status FieldError(absl::StatusCode code, absl::string_view field, absl::string_view what) {
  return WithErrorField(absl::Status(code, absl::StrCat(field, " ", what)), field);
}

std::string ErrorField(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status WithErrorCode(absl::Status status, absl::string_view code) {
  status.SetPayload(kCodePayload, absl::Cord(code));
  return status;
}

std::string ErrorCode(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kCodePayload);
  return payload.has_value() ? std::string(*payload) : std::string();
}

absl::Status WithErrorField(absl::Status status, absl::string_view field) {
  status.SetPayload(kPayload, absl::Cord(field));
  return status;
}

}  // namespace quire::frontend
