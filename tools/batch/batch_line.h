// One line of an OpenAI batch: {"custom_id", "method", "url", "body"} in, {"id", "custom_id", "response", "error"} out.
//
// Pure functions, any thread.
// Invariants:
//   L1  A line that goes out is one line: no byte of it but its last is '\n'.
//   L2  The members of a body keep their order: schemas depend on it.
#ifndef QUIRE_TOOLS_BATCH_BATCH_LINE_H_
#define QUIRE_TOOLS_BATCH_BATCH_LINE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace quire::batch {

inline constexpr size_t kCustomIdBytesMax = 512;

struct BatchLine {
  std::string custom_id;
  std::string url;   // path on the server: "/v1/completions"
  std::string body;  // JSON
};

// How a line ended: an answer of the server, or, where there is none, why.
struct Outcome {
  int status = 0;          // HTTP; 0: no answer
  std::string request_id;  // the server's
  std::string body;        // as it came
  std::string error_code;  // where there is no answer
  std::string error_message;

  bool ok() const { return status == 200; }
};

struct TokenUsage {
  int64_t prompt = 0;
  int64_t completion = 0;
};

// Reads an input line. Errors: kInvalidArgument says what is wrong with it, without the line's number.
absl::StatusOr<BatchLine> ParseBatchLine(absl::string_view text);

// The custom_id of an output line. Errors: kInvalidArgument if it is not one.
absl::StatusOr<std::string> CustomIdOfOutput(absl::string_view text);

// An output line, with its '\n'.
std::string OutputLine(const std::string& custom_id, const Outcome& outcome);

// What an answer says it took; zeros where it says nothing.
TokenUsage UsageOf(const std::string& body);

}  // namespace quire::batch

#endif  // QUIRE_TOOLS_BATCH_BATCH_LINE_H_
