// Errors as OpenAI's clients read them.
//
// Pure but for the jitter of hints; any thread.
//
//   status                                          HTTP  type                   code
//   INVALID_ARGUMENT, OUT_OF_RANGE                  400   invalid_request_error  null, context_length_exceeded
//   FAILED_PRECONDITION; RESOURCE_EXHAUSTED and     400   invalid_request_error  null
//   UNIMPLEMENTED of a field: the same request will
//   never be served here
//   UNAUTHENTICATED                                 401   invalid_request_error  invalid_api_key
//   PERMISSION_DENIED                               403   invalid_request_error  null
//   NOT_FOUND                                       404   invalid_request_error  model_not_found if of the model
//   ALREADY_EXISTS                                  409   invalid_request_error  null
//   RESOURCE_EXHAUSTED                              429   rate_limit_error       rate_limit_exceeded
//   CANCELLED                                       499   server_error           null (for logs: the client is gone)
//   UNIMPLEMENTED                                   501   invalid_request_error  null
//   UNAVAILABLE, ABORTED                            503   server_error           null
//   DEADLINE_EXCEEDED                               504   server_error           null
//   others                                          500   server_error           null
#ifndef QUIRE_COORDINATOR_OPENAI_ERRORS_H_
#define QUIRE_COORDINATOR_OPENAI_ERRORS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace quire::openai {

// Of an error. Requires: !status.ok() (of OK: 200).
int HttpStatus(const absl::Status& status);

// {"error": {"message", "type", "param", "code"}}: all four keys, the message at most 1 KiB. The field is the status's
// (frontend/field_error.h).
std::string ErrorBody(const absl::Status& status);

// The same for what HTTP alone can get wrong (405, 413, 431, ...). Empty `param` or `code`: null.
std::string ErrorBody(int http_status, absl::string_view message, absl::string_view param = "",
                      absl::string_view code = "");

// The last event of a stream that failed after it began. No [DONE] follows.
std::string ErrorEvent(const absl::Status& status);

// Milliseconds after which coming back can help, spread so that the refused do not return together; -1: it cannot help.
// For a header `retry-after-ms`, and rounded up to seconds for `Retry-After`.
int64_t RetryAfterMs(const absl::Status& status);
// Whole seconds, at least 1, of such a hint.
int64_t RetryAfterSeconds(int64_t retry_after_ms);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_ERRORS_H_
