// A tokenizer out of a sentencepiece tokenizer.model. The pieces, their scores and the rules for text are the file's;
// the tokens around a text are those of Hugging Face's classes for such files.
//
// One thread.
//   I1  A control piece is never found in a text, unless tokenizer_config.json or its companions name it as a token.
#ifndef QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_TOKENIZER_H_
#define QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_TOKENIZER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/tokenizer_parts.h"

namespace quire::text {

// `path` is for messages. Fills in `config` what the file knows and the directory left open: which pieces begin and
// end a text, and that the first is put before every text. Errors: kInvalidArgument and kUnimplemented, naming the
// field.
absl::StatusOr<TokenizerParts> MakeSentencePieceTokenizer(const std::string& path, absl::string_view bytes,
                                                          TokenizerConfig* config);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_TOKENIZER_H_
