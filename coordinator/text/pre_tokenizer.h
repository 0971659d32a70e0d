// Cuts normalised text into the pieces that the model encodes one by one: the `pre_tokenizer` of a tokenizer.json.
//
// Immutable, any thread. Stages are chained by callbacks, so that no list of pieces is ever built; a piece is valid
// until the callback returns.
#ifndef QUIRE_COORDINATOR_TEXT_PRE_TOKENIZER_H_
#define QUIRE_COORDINATOR_TEXT_PRE_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/literal_or_regex.h"

namespace quire::text {

struct Piece {
  absl::string_view text;  // never empty
  bool at_start = false;   // starts at offset 0 of the whole input
};

using PieceSink = absl::FunctionRef<absl::Status(const Piece&)>;

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Calls `sink` for each part in order. Errors: those of the sink; kResourceExhausted when a regex gives up.
  virtual absl::Status Split(const Piece& piece, PieceSink sink) const = 0;
};

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

// What becomes of the matches of a splitting pattern.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

// Splits at the matches; with `invert` the text between matches takes the role of the matches.
PreTokenizerPtr MakeSplitPreTokenizer(LiteralOrRegex pattern, SplitBehavior behavior, bool invert);

// Splits at each character of the class.
PreTokenizerPtr MakeCharClassPreTokenizer(bool (*is_match)(char32_t), SplitBehavior behavior);

// Keeps runs of word characters and runs of what is neither word nor whitespace.
PreTokenizerPtr MakeWordsPreTokenizer();

// Drops whitespace and keeps each punctuation character by itself.
PreTokenizerPtr MakeBertPreTokenizer();

// Cuts after every `length` characters. Requires: length > 0.
PreTokenizerPtr MakeFixedLengthPreTokenizer(int64_t length);

struct ByteLevelOptions {
  bool add_prefix_space = false;
  bool use_regex = true;
  bool map_bytes = true;  // false: leave the pieces as raw bytes, for a model that takes them so
};
// Splits by GPT-2's expression and writes each piece in the byte-level alphabet.
PreTokenizerPtr MakeByteLevelPreTokenizer(const ByteLevelOptions& options);

enum class PrependScheme { kFirst, kNever, kAlways };

struct MetaspaceOptions {
  std::string replacement;  // one character
  PrependScheme prepend_scheme = PrependScheme::kAlways;
  bool split = true;
};
// Writes spaces as the replacement, prepends one, and splits before each.
PreTokenizerPtr MakeMetaspacePreTokenizer(const MetaspaceOptions& options);

// Feeds the piece through all stages in turn.
absl::Status SplitThrough(const std::vector<PreTokenizerPtr>& stages, const Piece& piece, PieceSink sink);

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_PRE_TOKENIZER_H_
