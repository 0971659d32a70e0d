// Finds calls of tools in a model's output as it comes: the form of Hermes and Qwen,
// <tool_call>{"name": ..., "arguments": {...}}</tool_call>, or where a constraint puts them (ToolOutput).
//
// One thread.
// Invariants:
//   T1  No text is lost: what turns out to be no call is content, unchanged. Only blanks before calls are dropped, and
//       those at the end of an output that has calls.
//   T2  What it holds back is at most a tag that has begun, blanks before one, or a call (a list of them) of
//       kToolCallBytesMax.
//   T3  The result does not depend on how the text is cut.
#ifndef QUIRE_COORDINATOR_OPENAI_TOOL_CALLS_H_
#define QUIRE_COORDINATOR_OPENAI_TOOL_CALLS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/openai/call.h"

namespace quire::openai {

inline constexpr size_t kToolCallBytesMax = 64 << 10;
inline constexpr size_t kToolCallsMax = 128;  // of one output; what follows is content

struct FoundCall {
  std::string name;
  std::string arguments;  // JSON of an object
};

struct ParsedText {
  std::string content;
  std::string arguments;  // a piece of those of the one tool that was asked for
  std::vector<FoundCall> calls;
};

class ToolCallParser {
 public:
  explicit ToolCallParser(ToolOutput where = ToolOutput::kTagged) : where_(where) {}

  // Takes the next piece. `at_end`: nothing follows, so nothing is held back.
  ParsedText Add(absl::string_view text, bool at_end);

 private:
  // kList: nothing is known before the end.
  ParsedText AddToList(bool at_end);
  // Takes one step on held_; false: more text is needed.
  bool Step(bool at_end, ParsedText* out);
  bool Outside(bool at_end, ParsedText* out);
  bool Inside(bool at_end, ParsedText* out);
  // held_'s first `size` bytes are content.
  void Pass(size_t size, ParsedText* out);

  const ToolOutput where_;
  std::string held_;
  bool inside_ = false;    // held_ begins with an opening tag, or blanks and one
  size_t begin_ = 0;       // inside: of the call's JSON in held_
  size_t searched_ = 0;    // inside: no closing tag begins before it, but for those that were tried
  size_t num_closes_ = 0;  // inside: closing tags that were tried
  size_t num_calls_ = 0;
  bool gave_up_ = false;  // kList: it is no list, or too long a one
};

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_TOOL_CALLS_H_
