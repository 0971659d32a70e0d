// Chat formats as validation wants them.
#ifndef QUIRE_COORDINATOR_FRONTEND_RENDER_CHAT_H_
#define QUIRE_COORDINATOR_FRONTEND_RENDER_CHAT_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace quire::chat {
struct ChatRequest;
}

namespace quire::frontend {

struct ChatPrompt {
  std::string text;
  bool add_special_tokens = false;
  std::vector<std::string> stops;  // end an answer besides the model's end-of-sequence ids
};

// A conversation to the prompt that the model was trained on. Null: this server takes no conversations.
using RenderChat = std::function<absl::StatusOr<ChatPrompt>(const chat::ChatRequest& request)>;

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_RENDER_CHAT_H_
