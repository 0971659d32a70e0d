// A sentencepiece model: the input is tokenizer.model.
#include "absl/strings/string_view.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/tokenizer_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quire::fuzz::WriteScratch("tokenizer.model", {reinterpret_cast<const char*>(data), size}, /*keep_empty=*/true);
  quire::fuzz::LoadAndUseTokenizer("");
  return 0;
}
