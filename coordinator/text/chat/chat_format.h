// Conversations to prompts, in the format that a model was trained on.
//
// Immutable after Load; Prompt may run on any number of threads at once.
//   C1  The template is the model's (or the operator's), never a client's.
//   C2  A prompt is a function of the request and the clock alone.
#ifndef QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FORMAT_H_
#define QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FORMAT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "coordinator/text/jinja/template.h"

namespace quire::chat {

struct ChatFiles;

struct ToolCall {
  std::string id;
  std::string name;
  jinja::Value arguments;  // a dict
};

// A message as OpenAI's chat interface has them. Empty strings are left out of what the template sees.
struct ChatMessage {
  std::string role;
  absl::optional<std::string> content;  // none: null
  std::string name;
  std::string reasoning_content;
  std::vector<ToolCall> tool_calls;
  std::string tool_call_id;
};

struct ChatRequest {
  std::vector<ChatMessage> messages;
  jinja::Value tools;      // a list of {"type": "function", "function": {...}}; undefined: none
  jinja::Value variables;  // a dict of more variables for the template; undefined: none
  bool add_generation_prompt = true;
};

class ChatFormat final {
 public:
  // The format of a model directory: its own templates (chat_files.h), else the one built in for its family.
  // `template_path`, where not empty, is the operator's choice and replaces them. Errors: kNotFound when there is none;
  // kInvalidArgument for a file that cannot be read or a template that is none, with its name.
  static absl::StatusOr<std::unique_ptr<const ChatFormat>> Load(const std::string& model_dir,
                                                                const std::string& template_path = "");

  // The prompt's text. Errors: kInvalidArgument where the template refuses the conversation, in its words;
  // kResourceExhausted where it exceeds a limit; kFailedPrecondition when the model's only templates are for other uses.
  absl::StatusOr<std::string> Prompt(const ChatRequest& request, const jinja::Clock& clock) const;

  // Whether the tokenizer's own beginning goes in front of the prompt. False for templates of models: they write it.
  bool add_special_tokens() const { return add_special_tokens_; }
  // What ends an answer besides the model's end-of-sequence ids: texts, some of which are single tokens.
  const std::vector<std::string>& stops() const { return stops_; }
  // Where the template came from, for the log.
  const std::string& origin() const { return origin_; }

 private:
  struct Entry {
    std::unique_ptr<const jinja::Template> parsed;
    // The template adds arguments of tool calls to texts or prints them as they are, and so wants them as JSON text
    // and not as dicts.
    bool arguments_as_text = false;
  };

  ChatFormat() = default;
  absl::Status Parse(const std::string& name, const std::string& source, const std::string& origin);
  jinja::Value Variables(const ChatRequest& request, bool arguments_as_text) const;
  bool WantsArgumentsAsText(const jinja::Template& parsed) const;

  std::map<std::string, Entry> templates_;
  jinja::Entries special_tokens_;
  bool add_special_tokens_ = false;
  std::vector<std::string> stops_;
  std::string origin_;
};

// Names that a request's variables cannot take: what the prompt is made of comes from elsewhere in the request, from the
// model, or is a function.
bool IsReservedVariable(const std::string& name);

}  // namespace quire::chat

#endif  // QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FORMAT_H_
