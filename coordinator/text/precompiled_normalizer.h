// The two ways to apply a sentencepiece normalisation rule to a text.
//
// Immutable, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_PRECOMPILED_NORMALIZER_H_
#define QUIRE_COORDINATOR_TEXT_PRECOMPILED_NORMALIZER_H_

#include <string>
#include <vector>

#include "coordinator/text/charsmap.h"
#include "coordinator/text/normalizer.h"

namespace quire::text {

// As a tokenizer.json's "Precompiled" does: grapheme by grapheme, character by character where that finds nothing.
// Source: TK normalizers/precompiled.rs.
NormalizerPtr MakePrecompiledNormalizer(Charsmap map);

struct SentencePieceNormalizerOptions {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  std::vector<std::string> user_defined;  // pieces that are left as they are
};
// As sentencepiece does, spaces becoming U+2581. Source: SP normalizer.cc.
NormalizerPtr MakeSentencePieceNormalizer(Charsmap map, const SentencePieceNormalizerOptions& options);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_PRECOMPILED_NORMALIZER_H_
