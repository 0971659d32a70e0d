// A status that knows which field of a request it is about, so that a client can mark the field without parsing the
// message.
//
// Pure functions, any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_FIELD_ERROR_H_
#define QUIRE_COORDINATOR_FRONTEND_FIELD_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::frontend {

// "`field` `what`", e.g. "sampling_params.top_p must be in (0, 1], got 1.5.". Requires: `field` is ASCII (it travels in
// a trailer).
absl::Status FieldError(absl::StatusCode code, absl::string_view field, absl::string_view what);

// The field that FieldError named; empty if none.
std::string ErrorField(const absl::Status& status);

// What went wrong, in one word for programs where the field alone does not say it ("context_length_exceeded"); empty if
// nobody said.
absl::Status WithErrorCode(absl::Status status, absl::string_view code);
std::string ErrorCode(const absl::Status& status);

// The same error, about `field`.
absl::Status WithErrorField(absl::Status status, absl::string_view field);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_FIELD_ERROR_H_
