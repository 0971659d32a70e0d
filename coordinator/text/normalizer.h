// Rewrites text before it is split: the `normalizer` of a tokenizer.json.
//
// Immutable, any thread. Text is well-formed UTF-8 before and after.
#ifndef QUIRE_COORDINATOR_TEXT_NORMALIZER_H_
#define QUIRE_COORDINATOR_TEXT_NORMALIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/text/literal_or_regex.h"
#include "coordinator/text/unicode.h"

namespace quire::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Errors: kResourceExhausted when a regex gives up.
  virtual absl::Status Apply(std::string* text) const = 0;
};

using NormalizerPtr = std::unique_ptr<const Normalizer>;

// Applies each in turn.
NormalizerPtr MakeSequenceNormalizer(std::vector<NormalizerPtr> parts);
// Puts a prefix before text that is not empty.
NormalizerPtr MakePrependNormalizer(std::string prefix);
// Puts `content` in the place of every match.
NormalizerPtr MakeReplaceNormalizer(LiteralOrRegex pattern, std::string content);
NormalizerPtr MakeFormNormalizer(NormalForm form);
// Puts what `rewrite` appends in the place of every character.
using CharRewrite = void (*)(char32_t c, std::string* out);
NormalizerPtr MakeCharNormalizer(CharRewrite rewrite);
// Drops control characters, writes other kinds of space as a space. Source: TK normalizers/unicode.rs do_nmt.
void RewriteNmt(char32_t c, std::string* out);
// Writes each byte in the byte-level alphabet.
void RewriteAsMappedBytes(char32_t c, std::string* out);
// Drops whitespace at the ends.
NormalizerPtr MakeStripNormalizer(bool left, bool right);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_NORMALIZER_H_
