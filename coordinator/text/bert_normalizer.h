// What encoders, and the language models that took over their tokenizers, do to a text before it is split.
//
// Immutable, any thread.
#ifndef QUIRE_COORDINATOR_TEXT_BERT_NORMALIZER_H_
#define QUIRE_COORDINATOR_TEXT_BERT_NORMALIZER_H_

#include "coordinator/text/normalizer.h"

namespace quire::text {

struct BertNormalizerOptions {
  bool clean_text = true;            // drops control characters, writes every space as a space
  bool handle_chinese_chars = true;  // spaces around each
  bool strip_accents = true;         // decomposes, and drops marks that take no room
  bool lowercase = true;
};

// Source: TK normalizers/bert.rs.
NormalizerPtr MakeBertNormalizer(const BertNormalizerOptions& options);

// Drops every mark; what is composed keeps its marks.
NormalizerPtr MakeStripAccentsNormalizer();

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_BERT_NORMALIZER_H_
