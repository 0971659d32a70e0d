// Messages and tools of a chat completion as a ChatInput.
//
// Pure functions; any thread.
#ifndef QUIRE_COORDINATOR_OPENAI_CHAT_INPUT_H_
#define QUIRE_COORDINATOR_OPENAI_CHAT_INPUT_H_

#include "coordinator/openai/fields.h"
#include "proto/generate.pb.h"

namespace quire::openai {

// Reads messages, tools, documents, chat_template_kwargs, reasoning_effort, add_generation_prompt. A content in parts is
// its texts, joined by line ends; other parts are refused.
void ReadChatInput(Fields* fields, v1::ChatInput* out);

}  // namespace quire::openai

#endif  // QUIRE_COORDINATOR_OPENAI_CHAT_INPUT_H_
