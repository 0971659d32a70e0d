// Text from sentencepiece's pieces. Source: SP sentencepiece_processor.cc.
//
// Immutable, any thread; see decode_pipeline.h.
#ifndef QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_DECODE_H_
#define QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_DECODE_H_

#include "coordinator/text/decode_pipeline.h"

namespace quire::text {

struct SentencePieceDecodeOptions {
  bool add_dummy_prefix = true;          // one space at the start of the text is not the text's
  bool remove_extra_whitespaces = true;  // none of them is
  bool byte_fallback = false;            // <0xHH> pieces stand for bytes
};

// Takes pieces in which U+2581 is a space again. Bytes become characters as soon as they are whole, each byte that
// belongs to none becomes one U+FFFD.
DecodeStagePtr MakeSentencePieceDecodeStage(const SentencePieceDecodeOptions& options);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_SENTENCEPIECE_DECODE_H_
