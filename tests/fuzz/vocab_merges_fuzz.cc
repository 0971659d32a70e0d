// BPE without a tokenizer.json: the input is vocab.json, merges.txt, tokenizer_config.json, added_tokens.json and a text.
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto files = quire::fuzz::SplitInput(data, size, 5);
  quire::fuzz::WriteScratch("vocab.json", files[0], /*keep_empty=*/true);
  quire::fuzz::WriteScratch("merges.txt", files[1], /*keep_empty=*/true);
  quire::fuzz::WriteScratch("tokenizer_config.json", files[2]);
  quire::fuzz::WriteScratch("added_tokens.json", files[3]);
  quire::fuzz::LoadAndUseTokenizer(files[4]);
  return 0;
}
