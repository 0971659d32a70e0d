#include "coordinator/text/chat/builtin_formats.h"

#include "absl/strings/match.h"

namespace quire::chat {
namespace {

constexpr char kChatMl[] = R"({%- if messages[0].role != 'system' -%}
{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}
{%- endif -%}
{%- for message in messages -%}
{{ '<|im_start|>' ~ message.role ~ '\n' ~ (message.content or '') ~ '<|im_end|>\n' }}
{%- endfor -%}
{{ '<|im_start|>assistant\n' if add_generation_prompt }})";

// Questions and answers are numbered from 1; what a system message says stands before the first.
constexpr char kRounds[] = R"({%- set count = namespace(round=0) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{%- set count.round = count.round + 1 -%}
{{ '[Round ' ~ count.round ~ ']\n\n问：' ~ message.content ~ '\n\n答：' }}
{%- elif message.role == 'assistant' -%}
{{ message.content ~ '\n\n' }}
{%- else -%}
{{ message.content ~ '\n\n' }}
{%- endif -%}
{%- endfor -%})";

constexpr char kRoleTokens[] = R"({%- for message in messages -%}
{%- set role = 'observation' if message.role == 'tool' else message.role -%}
{{ '<|' ~ role ~ '|>\n ' ~ (message.content or '') }}
{%- endfor -%}
{{ '<|assistant|>' if add_generation_prompt }})";

// The reserved tokens' numbers differ between the generations of the vocabulary; their ids, 195 and 196, do not.
constexpr char kReserved102[] = R"({%- for message in messages -%}
{{ {'user': '<reserved_102>', 'assistant': '<reserved_103>'}.get(message.role, '') ~ (message.content or '') }}
{%- endfor -%}
{{ '<reserved_103>' if add_generation_prompt }})";
constexpr char kReserved106[] = R"({%- for message in messages -%}
{{ {'user': '<reserved_106>', 'assistant': '<reserved_107>'}.get(message.role, '') ~ (message.content or '') }}
{%- endfor -%}
{{ '<reserved_107>' if add_generation_prompt }})";

constexpr char kHuman[] = R"({%- if messages[0].role == 'system' -%}
{{ messages[0].content }}
{%- else -%}
{{ "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the human's questions." }}
{%- endif -%}
{{ '###' }}
{%- for message in messages if message.role != 'system' -%}
{{ ('Assistant: ' if message.role == 'assistant' else 'Human: ') ~ (message.content or '') ~ '###' }}
{%- endfor -%}
{{ 'Assistant:' if add_generation_prompt }})";

constexpr char kEoh[] = R"({%- for message in messages -%}
{%- if message.role == 'user' -%}
{{ '<|User|>:' ~ message.content ~ '<eoh>\n' }}
{%- elif message.role == 'assistant' -%}
{{ '<|Bot|>:' ~ message.content ~ '<eoa>\n' }}
{%- else -%}
{{ '<|System|>:' ~ message.content ~ '\n' }}
{%- endif -%}
{%- endfor -%}
{{ '<|Bot|>:' if add_generation_prompt }})";

constexpr char kUserLines[] = R"({%- for message in messages -%}
{%- set name = {'user': 'User: ', 'assistant': 'Assistant: '}.get(message.role, '') -%}
{{ name ~ (message.content or '')|trim ~ ('\n' if not loop.last or add_generation_prompt) }}
{%- endfor -%}
{{ 'Assistant:' if add_generation_prompt }})";

// Questions end with a space, answers with the end of sequence, after which the next question follows at once.
constexpr char kUserAssistant[] = R"({%- if messages[0].role == 'system' -%}
{{ messages[0].content ~ ' ' }}
{%- else -%}
{{ "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. " }}
{%- endif -%}
{%- for message in messages if message.role != 'system' -%}
{%- if message.role == 'assistant' -%}
{{ 'ASSISTANT: ' ~ (message.content or '') ~ '</s>' }}
{%- else -%}
{{ 'USER: ' ~ message.content ~ ' ' }}
{%- endif -%}
{%- endfor -%}
{{ 'ASSISTANT:' if add_generation_prompt }})";

constexpr char kConversation[] = R"({{ 'BEGINNING OF CONVERSATION: ' }}
{%- for message in messages -%}
{%- if message.role == 'assistant' -%}
{{ 'GPT: ' ~ (message.content or '') ~ '</s>' }}
{%- else -%}
{{ 'USER: ' ~ message.content ~ ' ' }}
{%- endif -%}
{%- endfor -%}
{{ 'GPT:' if add_generation_prompt }})";

struct Formats {
  BuiltinFormat chat_ml{"ChatML", kChatMl, false, {"<|im_end|>", "<|im_start|>"}};
  BuiltinFormat rounds{"rounds", kRounds, true, {}};
  BuiltinFormat role_tokens{"role tokens", kRoleTokens, true, {"<|user|>", "<|observation|>"}};
  BuiltinFormat reserved_102{"reserved tokens", kReserved102, false, {}};
  BuiltinFormat reserved_106{"reserved tokens", kReserved106, false, {}};
  BuiltinFormat human{"human and assistant", kHuman, false, {"###", "</s>"}};
  BuiltinFormat eoh{"user and bot", kEoh, true, {"<eoa>"}};
  BuiltinFormat user_lines{"user lines", kUserLines, false, {"\nUser:"}};
  BuiltinFormat user_assistant{"USER and ASSISTANT", kUserAssistant, true, {}};
  BuiltinFormat conversation{"USER and GPT", kConversation, true, {}};
};

}  // namespace

const BuiltinFormat* FindBuiltinFormat(const ModelHints& hints) {
  static const Formats* const formats = new Formats;
  const std::string& type = hints.model_type;
  const auto named = [&](const char* part) { return absl::StrContains(hints.name, part); };
  if (type == "qwen") return &formats->chat_ml;
  if (type == "chatglm") return named("chatglm3") ? &formats->role_tokens : &formats->rounds;
  if (type == "baichuan") return hints.vocab_size == 64000 ? &formats->reserved_102 : &formats->reserved_106;
  if (type == "aquila") return &formats->human;
  if (type == "internlm") return &formats->eoh;
  if (type == "falcon" || type == "refinedweb" || type == "refinedwebmodel") return &formats->user_lines;
  if (type == "llama" && named("vicuna")) return &formats->user_assistant;
  if (type == "llama" && named("koala")) return &formats->conversation;
  return nullptr;
}

}  // namespace quire::chat
