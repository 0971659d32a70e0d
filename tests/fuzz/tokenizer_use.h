// What every tokenizer target does once its files lie in the scratch directory.
#ifndef QUIRE_TESTS_FUZZ_TOKENIZER_USE_H_
#define QUIRE_TESTS_FUZZ_TOKENIZER_USE_H_

#include "absl/strings/string_view.h"

namespace quire::fuzz {

// Loads the tokenizer of the scratch directory and, where it loads, turns a text into ids and back. CHECKs that what is
// refused is refused by name, that ids have tokens, and that decoded text is UTF-8 whichever way it is decoded. An
// empty text stands for a built-in one.
void LoadAndUseTokenizer(absl::string_view text);

}  // namespace quire::fuzz

#endif  // QUIRE_TESTS_FUZZ_TOKENIZER_USE_H_
