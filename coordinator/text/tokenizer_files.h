// Which of a model directory's files makes its tokenizer.
//
// One thread.
//   I1  The first that exists counts: tokenizer.json, tokenizer.model (sentencepiece, or tiktoken's text under that
//       name), vocab.json with merges.txt, the only *.tiktoken.
#ifndef QUIRE_COORDINATOR_TEXT_TOKENIZER_FILES_H_
#define QUIRE_COORDINATOR_TEXT_TOKENIZER_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// Fills in `config` what the files know and the side files left open, and `path` with the file that was taken.
// Errors: kNotFound naming all that was looked for; else those of the file, with its name.
absl::StatusOr<TokenizerParts> ReadTokenizerParts(const std::string& model_dir, TokenizerConfig* config,
                                                  std::string* path);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKENIZER_FILES_H_
