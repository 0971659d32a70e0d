// Chat formats of model families that ship no template: what their own code builds, as templates of our own writing.
//
// Pure functions, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_CHAT_BUILTIN_FORMATS_H_
#define QUIRE_COORDINATOR_TEXT_CHAT_BUILTIN_FORMATS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace quire::chat {

// What a model's directory says about who it is.
struct ModelHints {
  std::string model_type;  // of config.json
  std::string name;        // _name_or_path and the directory's own name, lower case
  int64_t vocab_size = 0;
};

struct BuiltinFormat {
  const char* name;
  const char* source;
  // The tokenizer's own beginning (bos, "[gMASK] sop") goes in front, which these templates then leave out.
  bool add_special_tokens;
  // What ends an answer besides the model's end-of-sequence ids: the next turn, or a token that generation_config.json
  // of these models does not name.
  std::vector<std::string> stops;
};

// Null when the family has none.
const BuiltinFormat* FindBuiltinFormat(const ModelHints& hints);

}  // namespace quire::chat

#endif  // QUIRE_COORDINATOR_TEXT_CHAT_BUILTIN_FORMATS_H_
