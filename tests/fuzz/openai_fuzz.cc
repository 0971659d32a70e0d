// What clients send to the HTTP edge, and what models write into its answers: the input is a body, which every endpoint's
// parser gets, and an output's text. An accepted call is answered with that text, in one piece and as a stream.
#include <glog/logging.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/openai/answer.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/errors.h"
#include "coordinator/openai/text_calls.h"
#include "coordinator/text/utf8.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using nlohmann::json;
using quire::v1::GenerateResponse;

constexpr uint32_t kAnsweredMax = 3;  // prompts, and choices of each
constexpr size_t kPieceBytes = 7;     // of a stream; more of a long text, so that
constexpr size_t kPiecesMax = 64;     // it has no more of them

void CheckRefusal(const absl::Status& status) {
  CHECK(absl::IsInvalidArgument(status)) << status;
  CHECK_LE(status.message().size(), 1024u);
  const std::string field = quire::frontend::ErrorField(status);
  CHECK(std::all_of(field.begin(), field.end(), [](char c) { return c > ' ' && c < '\x7F'; })) << field;
  const json error = json::parse(quire::openai::ErrorBody(status)).at("error");
  CHECK_EQ(error.at("message").get<std::string>(), status.message());
}

void CheckRequest(const quire::v1::GenerateRequest& request) {
  CHECK_EQ(quire::text::FindInvalidUtf8(request.text()), absl::string_view::npos);
  quire::v1::GenerateRequest copy;
  CHECK(copy.ParseFromString(request.SerializeAsString()));  // refuses strings that are not UTF-8
  if (request.chat().has_tools()) CHECK(json::parse(request.chat().tools()).is_array());
  if (request.chat().has_chat_template_kwargs()) CHECK(json::parse(request.chat().chat_template_kwargs()).is_object());
}

// Content and calls of one choice, as one line.
struct Said {
  std::string content;
  std::string calls;

  void Take(const json& message) {
    if (message.contains("content") && message["content"].is_string()) content += message["content"].get<std::string>();
    for (const json& call : message.value("tool_calls", json::array())) {
      const json& function = call.at("function");
      calls += function.value("name", "") + function.at("arguments").get<std::string>();
    }
  }
};

std::string InOnePiece(const quire::openai::AnswerOptions& options, const std::string& text, Said* said) {
  quire::openai::Answer answer(options, {"r", "m", 1});
  for (uint32_t prompt = 0; prompt < options.num_prompts; ++prompt) {
    for (uint32_t index = 0; index < options.n; ++index) {
      GenerateResponse response;
      response.mutable_complete()->set_index(index);
      response.mutable_complete()->set_text(text);
      response.mutable_complete()->set_finish_reason("stop");
      CHECK_EQ(answer.Add(prompt, response), "");
    }
  }
  const json body = json::parse(answer.Finish());
  CHECK_EQ(body.at("choices").size(), size_t{options.num_prompts} * options.n);
  const json& choice = body["choices"].back();
  if (choice.contains("message")) said->Take(choice["message"]);
  if (choice.contains("text")) said->content = choice["text"].get<std::string>();
  return choice.at("finish_reason").get<std::string>();
}

// One choice of one prompt.
std::string AsAStream(const quire::openai::AnswerOptions& options, const std::string& text, Said* said) {
  quire::openai::Answer answer(options, {"r", "m", 1});
  std::string bytes;
  const size_t piece = std::max(kPieceBytes, text.size() / kPiecesMax);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.size(), begin + piece);
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    GenerateResponse response;
    response.mutable_chunk()->set_text(text.substr(begin, end - begin));
    bytes += answer.Add(0, response);
    begin = end;
  }
  GenerateResponse last;
  last.mutable_complete()->set_finish_reason("stop");
  bytes += answer.Add(0, last) + answer.Finish();
  std::string reason;
  CHECK(absl::EndsWith(bytes, "data: [DONE]\n\n"));
  bytes.resize(bytes.size() - std::string("data: [DONE]\n\n").size());
  for (const absl::string_view event : absl::StrSplit(bytes, "\n\n", absl::SkipEmpty())) {
    CHECK(absl::StartsWith(event, "data: ") && event.find('\n') == absl::string_view::npos) << event;
    const json data = json::parse(std::string(event.substr(6)));
    for (const json& choice : data.at("choices")) {
      if (choice.contains("delta")) said->Take(choice["delta"]);
      if (choice.contains("text")) said->content += choice["text"].get<std::string>();
      if (choice.at("finish_reason").is_string()) reason = choice["finish_reason"].get<std::string>();
    }
  }
  return reason;
}

void CheckCall(const quire::openai::Call& call, absl::string_view output) {
  CHECK_EQ(call.requests.size(), call.answer.num_prompts);
  CHECK(!call.requests.empty() && call.requests.size() <= quire::openai::kPromptsMax);
  for (const auto& request : call.requests) CheckRequest(request);
  std::string text;
  quire::text::AppendLossy(output, /*at_end=*/true, &text);
  quire::openai::AnswerOptions options = call.answer;
  options.num_prompts = std::min(options.num_prompts, kAnsweredMax);
  options.n = std::clamp<uint32_t>(options.n, 1, kAnsweredMax);
  options.stream = options.logprobs = options.prompt_logprobs = false;
  Said whole;
  const std::string reason = InOnePiece(options, text, &whole);
  if (options.tool_output == quire::openai::ToolOutput::kNone) CHECK_EQ(whole.content, text);
  options.stream = true;
  options.n = options.num_prompts = 1;
  Said streamed;
  CHECK_EQ(AsAStream(options, text, &streamed), reason);
  CHECK_EQ(streamed.content, whole.content);
  CHECK_EQ(streamed.calls, whole.calls);
}

// True if the endpoint takes the body.
template <typename Parsed, typename Check>
bool Try(const absl::StatusOr<Parsed>& parsed, Check check) {
  if (!parsed.ok()) {
    CheckRefusal(parsed.status());
    return false;
  }
  check(*parsed);
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = quire::fuzz::SplitInput(data, size, 2);
  const auto check_call = [&](const quire::openai::Call& call) { CheckCall(call, parts[1]); };
  const auto ignore = [](const auto&) {};
  bool accepted = Try(quire::openai::ParseCompletion(parts[0]), check_call);
  accepted |= Try(quire::openai::ParseChatCompletion(parts[0]), check_call);
  accepted |= Try(quire::openai::ParseTokenize(parts[0]), ignore);
  accepted |= Try(quire::openai::ParseDetokenize(parts[0]), ignore);
  if (accepted) quire::fuzz::NoteAccepted();
  return 0;
}
