// One call's answer in OpenAI's shapes, from the messages of the clients' protocol: server-sent events, or one body.
//
// Not thread-safe: the owner of the exchange calls it under its lock.
// Invariants:
//   A1  Every event is whole: "data: {...}\n\n" with JSON on one line, all of it UTF-8.
//   A2  Of a choice come in this order: the role (chat), text, one event with finish_reason. Then of all, the usage chunk
//       if it was asked for, and [DONE].
//   A3  Choice c of prompt p has the index p * n + c.
//   A4  What a stream holds: counts, a beginning of a tool call up to kToolCallBytesMax for each choice, and with an echo
//       the log-probs of its prompts. Anything else leaves with the event that brought it.
#ifndef QUIRE_COORDINATOR_OPENAI_ANSWER_H_
#define QUIRE_COORDINATOR_OPENAI_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/tool_calls.h"
#include "proto/generate.pb.h"

namespace quire::openai {

struct AnswerInfo {
  std::string request_id;  // the id is "chatcmpl-" or "cmpl-" and this
  std::string model;       // as served
  int64_t created = 0;     // seconds since 1970
};

class Answer {
 public:
  Answer(AnswerOptions options, AnswerInfo info);

  // Takes the next message about a prompt and returns the events that it makes: none, one or more; never any if the call
  // is not a stream. Requires: prompt < num_prompts; Finish was not called.
  std::string Add(size_t prompt, const v1::GenerateResponse& response);

  // The last events of a stream, or the whole body. Requires: each prompt's choices are complete; called once.
  std::string Finish();

 private:
  struct Choice {
    explicit Choice(ToolOutput where) : parser(where) {}

    bool begun = false;  // its role is out
    uint32_t completion_tokens = 0;
    bool echo_scored = false;  // the prompt's log-probs are out
    size_t text_offset = 0;    // characters before its next token's
    ToolCallParser parser;
    uint32_t num_tool_calls = 0;
    std::string body;  // not a stream: all of it
  };
  struct Prompt {
    uint32_t prompt_tokens = 0;
    uint32_t cached_tokens = 0;
    v1::InputLogprobs logprobs;
  };

  // What every message says of its prompt and choice; returns the choice's index. A chunk or a complete.
  template <typename Message>
  size_t TakeCounts(size_t prompt, const Message& message);
  std::string AddChunk(size_t prompt, const v1::GenerateResponse::Chunk& chunk);
  std::string AddComplete(size_t prompt, const v1::GenerateResponse::Complete& complete);
  void StoreBody(size_t prompt, const v1::GenerateResponse::Complete& complete);

  // The value of "logprobs" for news of a choice.
  std::string Logprobs(const Prompt& prompt, const v1::OutputLogprobs& output, Choice* choice) const;
  std::string ToolCallsJson(const ParsedText& parsed, size_t index, Choice* choice) const;
  // "finish_reason" and "stop_reason".
  std::string Ending(const v1::GenerateResponse::Complete& complete, const Choice& choice) const;

  // What a choice says, if anything, as events. `logprobs`: "null" for none.
  std::string Say(size_t prompt, size_t index, const std::string& text, const std::string& logprobs, bool at_end);
  // One event about one choice: `inside` is what lies between its index and its ending.
  std::string Event(size_t prompt, size_t index, absl::string_view inside, absl::string_view ending) const;
  std::string TotalUsage() const;

  const AnswerOptions options_;
  const std::string id_;
  const std::string head_;  // of an event or the body, up to its choices
  std::vector<Prompt> prompts_;
  std::vector<Choice> choices_;  // by index (A3)
};

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_ANSWER_H_
