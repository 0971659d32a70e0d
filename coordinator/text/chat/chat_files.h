// The chat templates of a model's directory, and what else of it they need.
//
// One thread.
//   F1  Of each name the first counts: chat_template.jinja with additional_chat_templates/NAME.jinja, tokenizer_config.json
//       (a string, or a list of named ones), chat_template.json.
#ifndef QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FILES_H_
#define QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FILES_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/text/chat/builtin_formats.h"

namespace quire::chat {

inline constexpr char kDefaultTemplate[] = "default";
inline constexpr char kToolTemplate[] = "tool_use";  // the one for requests with tools, where a model has it

struct TemplateSource {
  std::string text;
  std::string origin;  // the file, for messages
};

struct ChatFiles {
  std::map<std::string, TemplateSource> templates;    // by name
  std::map<std::string, std::string> special_tokens;  // "bos_token" and the like, to the token's text
  ModelHints hints;
};

// A directory without any of the files gives empty results. Errors: kInvalidArgument naming file and key.
absl::StatusOr<ChatFiles> ReadChatFiles(const std::string& model_dir);

}  // namespace quire::chat

#endif  // QUIRE_COORDINATOR_TEXT_CHAT_CHAT_FILES_H_
