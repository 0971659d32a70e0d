#include "coordinator/openai/answer.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/openai/json_writer.h"
#include "coordinator/openai/logprobs_json.h"

namespace quire::openai {
namespace {

constexpr char kNoEnding[] = R"("finish_reason":null)";

std::string MakeId(Endpoint endpoint, const std::string& request_id) {
  return absl::StrCat(endpoint == Endpoint::kChat ? "chatcmpl-" : "cmpl-", request_id);
}

std::string MakeHead(const AnswerOptions& options, const AnswerInfo& info) {
  const char* object = "text_completion";
  if (options.endpoint == Endpoint::kChat) object = options.stream ? "chat.completion.chunk" : "chat.completion";
  return absl::StrCat(options.stream ? "data: " : "", R"({"id":)", Quoted(MakeId(options.endpoint, info.request_id)),
                      R"(,"object":")", object, R"(","created":)", info.created, R"(,"model":)", Quoted(info.model),
                      R"(,"choices":[)");
}

std::string UsageJson(uint64_t prompt_tokens, uint64_t completion_tokens, uint64_t cached_tokens) {
  return absl::StrCat(R"({"prompt_tokens":)", prompt_tokens, R"(,"total_tokens":)", prompt_tokens + completion_tokens,
                      R"(,"completion_tokens":)", completion_tokens, R"(,"prompt_tokens_details":{"cached_tokens":)",
                      cached_tokens, "}}");
}

}  // namespace

Answer::Answer(AnswerOptions options, AnswerInfo info)
    : options_(std::move(options)),
      id_(info.request_id),
      head_(MakeHead(options_, info)),
      prompts_(options_.num_prompts),
      choices_(size_t{options_.num_prompts} * options_.n, Choice(options_.tool_output)) {}

std::string Answer::Add(size_t prompt, const v1::GenerateResponse& response) {
  CHECK_LT(prompt, prompts_.size()) << id_;
  if (response.has_chunk()) return AddChunk(prompt, response.chunk());
  if (!response.has_complete()) return "";
  if (options_.stream) return AddComplete(prompt, response.complete());
  StoreBody(prompt, response.complete());
  return "";
}

template <typename Message>
size_t Answer::TakeCounts(size_t prompt, const Message& message) {
  CHECK_LT(message.index(), options_.n) << id_;
  const size_t index = prompt * options_.n + message.index();
  choices_[index].completion_tokens = message.completion_tokens();
  Prompt& about = prompts_[prompt];
  about.prompt_tokens = message.prompt_tokens();
  about.cached_tokens = message.cached_tokens();
  if (message.has_input_logprobs()) about.logprobs = message.input_logprobs();
  return index;
}

std::string Answer::AddChunk(size_t prompt, const v1::GenerateResponse::Chunk& chunk) {
  CHECK(options_.stream) << id_;
  const size_t index = TakeCounts(prompt, chunk);
  Choice& choice = choices_[index];
  const Prompt& about = prompts_[prompt];
  return Say(prompt, index, chunk.text(), Logprobs(about, chunk.output_logprobs(), &choice), /*at_end=*/false);
}

std::string Answer::AddComplete(size_t prompt, const v1::GenerateResponse::Complete& complete) {
  const size_t index = TakeCounts(prompt, complete);
  Choice& choice = choices_[index];
  const Prompt& about = prompts_[prompt];
  const std::string logprobs = Logprobs(about, complete.output_logprobs(), &choice);
  if (options_.endpoint == Endpoint::kChat) {
    std::string events = Say(prompt, index, complete.text(), logprobs, /*at_end=*/true);
    events += Event(prompt, index, R"("delta":{},"logprobs":null)", Ending(complete, choice));
    return events;
  }
  return Event(prompt, index, absl::StrCat(R"("text":)", Quoted(complete.text()), R"(,"logprobs":)", logprobs),
               Ending(complete, choice));
}

std::string Answer::Say(size_t prompt, size_t index, const std::string& text, const std::string& logprobs,
                        bool at_end) {
  Choice& choice = choices_[index];
  if (options_.endpoint == Endpoint::kCompletion) {
    if (text.empty() && logprobs == "null") return "";
    return Event(prompt, index, absl::StrCat(R"("text":)", Quoted(text), R"(,"logprobs":)", logprobs), kNoEnding);
  }
  std::string events;
  if (!std::exchange(choice.begun, true)) {
    events = Event(prompt, index, R"("delta":{"role":"assistant","content":""},"logprobs":null)", kNoEnding);
  }
  const ParsedText parsed = choice.parser.Add(text, at_end);
  if (!parsed.content.empty() || logprobs != "null") {
    const std::string content = parsed.content.empty() ? "" : absl::StrCat(R"("content":)", Quoted(parsed.content));
    events += Event(prompt, index, absl::StrCat(R"("delta":{)", content, R"(},"logprobs":)", logprobs), kNoEnding);
  }
  const std::string calls = ToolCallsJson(parsed, index, &choice);
  if (!calls.empty()) {
    events +=
        Event(prompt, index, absl::StrCat(R"("delta":{"tool_calls":[)", calls, R"(]},"logprobs":null)"), kNoEnding);
  }
  return events;
}

void Answer::StoreBody(size_t prompt, const v1::GenerateResponse::Complete& complete) {
  const size_t index = TakeCounts(prompt, complete);
  Choice& choice = choices_[index];
  const Prompt& about = prompts_[prompt];
  const std::string logprobs = Logprobs(about, complete.output_logprobs(), &choice);
  absl::StrAppend(&choice.body, R"({"index":)", index);
  if (options_.endpoint == Endpoint::kChat) {
    const ParsedText parsed = choice.parser.Add(complete.text(), /*at_end=*/true);
    const std::string calls = ToolCallsJson(parsed, index, &choice);
    const std::string content = parsed.content.empty() && !calls.empty() ? "null" : Quoted(parsed.content);
    absl::StrAppend(&choice.body, R"(,"message":{"role":"assistant","content":)", content, R"(,"refusal":null)",
                    calls.empty() ? "" : absl::StrCat(R"(,"tool_calls":[)", calls, "]"), "}");
  } else {
    absl::StrAppend(&choice.body, R"(,"text":)", Quoted(complete.text()));
    // Once a prompt: they are the same for all of its choices, and long.
    if (options_.prompt_logprobs && complete.index() == 0) {
      absl::StrAppend(&choice.body, R"(,"prompt_logprobs":)", PromptLogprobs(about.logprobs));
    }
  }
  absl::StrAppend(&choice.body, R"(,"logprobs":)", logprobs, ",", Ending(complete, choice), "}");
}

std::string Answer::Finish() {
  if (options_.stream) {
    const std::string usage =
        options_.include_usage ? absl::StrCat(head_, R"(],"usage":)", TotalUsage(), "}\n\n") : std::string();
    return usage + "data: [DONE]\n\n";
  }
  std::string body = head_;
  for (Choice& choice : choices_) {
    CHECK(!choice.body.empty()) << id_;
    if (&choice != &choices_.front()) body.push_back(',');
    body += choice.body;
    choice.body.clear();
  }
  absl::StrAppend(&body, R"(],"usage":)", TotalUsage());
  if (options_.endpoint == Endpoint::kChat && options_.prompt_logprobs) {
    absl::StrAppend(&body, R"(,"prompt_logprobs":)", PromptLogprobs(prompts_.front().logprobs));
  }
  body.push_back('}');
  return body;
}

std::string Answer::Logprobs(const Prompt& prompt, const v1::OutputLogprobs& output, Choice* choice) const {
  if (!options_.logprobs) return "null";
  if (options_.endpoint == Endpoint::kChat) {
    return output.positions().empty() ? "null" : ChatLogprobs(output, options_.tokens_as_token_ids);
  }
  const bool with_prompt = options_.echo && !std::exchange(choice->echo_scored, true);
  if (!with_prompt && output.positions().empty() && options_.stream) return "null";
  return CompletionLogprobs(with_prompt ? prompt.logprobs : v1::InputLogprobs(), output, options_.tokens_as_token_ids,
                            &choice->text_offset);
}

std::string Answer::ToolCallsJson(const ParsedText& parsed, size_t index, Choice* choice) const {
  std::string out;
  const auto append = [&](const std::string& name, const std::string& arguments) {
    if (!out.empty()) out.push_back(',');
    const uint32_t number = choice->num_tool_calls++;
    // A stream's calls are numbered, a body's stand in their order.
    const std::string place = options_.stream ? absl::StrCat(R"("index":)", number, ",") : "";
    absl::StrAppend(&out, "{", place, R"("id":)", Quoted(absl::StrCat("call_", id_, "-", index, "-", number)),
                    R"(,"type":"function","function":{"name":)", Quoted(name), R"(,"arguments":)", Quoted(arguments),
                    "}}");
  };
  for (const FoundCall& call : parsed.calls) {
    if (choice->num_tool_calls == 0 || options_.parallel_tool_calls) append(call.name, call.arguments);
  }
  if (options_.tool_output != ToolOutput::kArguments) return out;
  if (choice->num_tool_calls == 0) {
    append(options_.tool_name, parsed.arguments);
  } else if (!parsed.arguments.empty()) {
    absl::StrAppend(&out, R"({"index":0,"function":{"arguments":)", Quoted(parsed.arguments), "}}");
  }
  return out;
}

std::string Answer::Ending(const v1::GenerateResponse::Complete& complete, const Choice& choice) const {
  std::string stop = "null";
  if (complete.has_matched_stop_str()) {
    stop = Quoted(complete.matched_stop_str());
  } else if (complete.has_matched_stop_token_id()) {
    const std::vector<uint32_t>& ids = options_.stop_token_ids;
    const uint32_t id = complete.matched_stop_token_id();
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) stop = absl::StrCat(id);
  }
  // Of a tool that was asked for by name, OpenAI says that it stopped.
  const bool called =
      choice.num_tool_calls > 0 && options_.tool_output != ToolOutput::kArguments && complete.finish_reason() == "stop";
  return absl::StrCat(R"("finish_reason":)", Quoted(called ? "tool_calls" : complete.finish_reason()),
                      R"(,"stop_reason":)", stop);
}

std::string Answer::Event(size_t prompt, size_t index, absl::string_view inside, absl::string_view ending) const {
  std::string event = absl::StrCat(head_, R"({"index":)", index, ",", inside, ",", ending, "}]");
  if (options_.include_usage) {
    const Prompt& about = prompts_[prompt];
    absl::StrAppend(&event, R"(,"usage":)",
                    options_.continuous_usage_stats
                        ? UsageJson(about.prompt_tokens, choices_[index].completion_tokens, about.cached_tokens)
                        : "null");
  }
  event.append("}\n\n");
  return event;
}

std::string Answer::TotalUsage() const {
  uint64_t prompt_tokens = 0;
  uint64_t cached_tokens = 0;
  uint64_t completion_tokens = 0;
  for (const Prompt& prompt : prompts_) {
    prompt_tokens += prompt.prompt_tokens;
    cached_tokens += prompt.cached_tokens;
  }
  for (const Choice& choice : choices_) completion_tokens += choice.completion_tokens;
  return UsageJson(prompt_tokens, completion_tokens, cached_tokens);
}

}  // namespace quire::openai
