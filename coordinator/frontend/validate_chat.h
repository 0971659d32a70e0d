// Validation's part for conversations: every field of ChatInput, and the prompt that the model's template makes of them.
//
// Pure but for what the template's clock tells; any thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_VALIDATE_CHAT_H_
#define QUIRE_COORDINATOR_FRONTEND_VALIDATE_CHAT_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/frontend/encode.h"
#include "coordinator/frontend/render_chat.h"
#include "coordinator/request/request.h"

namespace quire::v1 {
class ChatInput;
}

namespace quire::frontend {

inline constexpr int kChatMessagesMax = 4096;
inline constexpr size_t kChatRoleBytesMax = 64;
inline constexpr size_t kChatNameBytesMax = 256;  // of a participant, function or tool call id
inline constexpr int kChatToolCallsMax = 128;     // of one message
inline constexpr size_t kChatToolsMax = 512;
inline constexpr size_t kChatJsonBytesMax = 1 << 20;    // of `tools`, and of the arguments of one call
inline constexpr size_t kChatKwargsBytesMax = 1 << 16;  // of `chat_template_kwargs`

// Errors carry the field ("chat.messages[2].role"). INVALID_ARGUMENT: a limit is broken, or the template refuses the
// conversation, in its words; FAILED_PRECONDITION: the server has no format for this model; RESOURCE_EXHAUSTED: the
// template takes too long over it.
absl::StatusOr<ChatPrompt> ReadChat(const v1::ChatInput& in, const RenderChat& render);

// Adds what ends an answer: as a token where it is one, else as text where text is made at all.
void AddChatStops(const ChatPrompt& prompt, const Encode& encode, bool wants_text, request::SamplingParams* out);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_VALIDATE_CHAT_H_
