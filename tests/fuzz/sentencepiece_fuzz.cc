// A sentencepiece model: the input is tokenizer.model. Every fourth is ChatGLM3's, whose code adds tokens of its own.
#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const bool is_glm = size % 4 == 1;
  constexpr char kGlm[] = R"({"tokenizer_class": "ChatGLMTokenizer", "name_or_path": "chatglm3"})";
  quire::fuzz::WriteScratch("tokenizer_config.json", is_glm ? kGlm : "");
  quire::fuzz::WriteScratch("tokenizer.model", {reinterpret_cast<const char*>(data), size}, /*keep_empty=*/true);
  quire::fuzz::LoadAndUseTokenizer(is_glm ? "<|user|> sop river" : "");
  return 0;
}
