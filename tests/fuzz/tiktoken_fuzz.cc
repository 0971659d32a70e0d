// A tiktoken file under its own name: the input is qwen.tiktoken, tokenizer_config.json and a text.
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = quire::fuzz::SplitInput(data, size, 3);
  quire::fuzz::WriteScratch("qwen.tiktoken", files[0], /*keep_empty=*/true);
  quire::fuzz::WriteScratch("tokenizer_config.json", files[1]);
  quire::fuzz::LoadAndUseTokenizer(files[2]);
  return 0;
}
