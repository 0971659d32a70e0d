// The tokenizer as the other parts want it: as an OutputDecoder for the engine, and as text of single tokens for
// log-probs.
//
// The functions are pure, any thread; a decoder belongs to one choice and runs on the engine thread.
#ifndef QUIRE_COORDINATOR_FRONTEND_TEXT_ADAPTER_H_
#define QUIRE_COORDINATOR_FRONTEND_TEXT_ADAPTER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/request/output_decoder.h"

namespace quire::text {
class Tokenizer;
}

namespace quire::frontend {

// What a request wants of special tokens in its text.
struct SpecialTokensInText {
  bool skip = true;
  bool spaces_between = true;  // where they are not skipped and the decoder puts spaces between tokens
};

// Makes the decoder of one choice's output; keeps the tokenizer alive. Null if the tokenizer is.
std::function<std::unique_ptr<request::OutputDecoder>()> MakeDecoderFactory(
    std::shared_ptr<const text::Tokenizer> tokenizer, const SpecialTokensInText& special);

// The text of one token, special ones included; U+FFFD where a token is a part of a character. Null if the tokenizer
// is.
std::function<std::string(int32_t)> MakeTokenText(std::shared_ptr<const text::Tokenizer> tokenizer);

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_TEXT_ADAPTER_H_
