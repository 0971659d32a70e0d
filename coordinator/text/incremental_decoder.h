// Turns one output stream's token ids into text as they come.
//
// One decoder per stream, one thread at a time; copy it to fork a stream. The tokenizer must outlive it.
//   I1  The texts of all Append calls and of Finish, joined, are Tokenizer::Decode of all ids (for a stream at the
//   start
//       of a text).
//   I2  Text once appended never changes, and is whole characters only. So a run of byte-fallback tokens appears when
//       it ends: its last byte decides whether its first one is a character or U+FFFD.
//   I3  The history is not kept: a step's cost depends on that step's token alone.
#ifndef QUIRE_COORDINATOR_TEXT_INCREMENTAL_DECODER_H_
#define QUIRE_COORDINATOR_TEXT_INCREMENTAL_DECODER_H_

#include <cstdint>
#include <string>

#include "coordinator/text/decode_pipeline.h"
#include "coordinator/text/tokenizer.h"

namespace quire::text {

struct IncrementalDecoderOptions {
  bool skip_special_tokens = true;
  // True: the stream is a text of its own, and a sentencepiece-style leading space is dropped. False: it continues a
  // prompt, and that space is a space between two words.
  bool at_text_start = false;
  // False: a space that the decoder puts between two added tokens in a row is left out. Most decoders put none.
  bool spaces_between_special_tokens = true;
};

class IncrementalDecoder final {
 public:
  IncrementalDecoder(const Tokenizer* tokenizer, const IncrementalDecoderOptions& options);

  // Appends to `text` what is certain after this token. An id without a token adds nothing.
  void Append(int32_t id, std::string* text);
  // Appends what is still held back, U+FFFD for bytes that never became a character. Call once, at the end.
  void Finish(std::string* text);

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  bool spaces_between_special_tokens_;
  bool follows_added_token_ = false;
  DecodeState state_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_INCREMENTAL_DECODER_H_
