// Turns token strings back into text, one token at a time: the `decoder` of a tokenizer.json.
//
// Stages are immutable and shared by all streams; what a stream has seen so far is its DecodeState, plain data that can
// be copied. Any thread; one state belongs to one thread at a time.
//   I1  Text once emitted never changes: for every split of a token list into pushes the emitted texts, with Finish,
//       concatenate to the same string, which is the reference's decode of the whole list.
//   I2  Emitted text is well-formed UTF-8; an incomplete character is held back until it is complete or known broken.
//   I3  The work of a push is proportional to the bytes of that token; text held back is bounded by what is not yet
//       decidable: an incomplete character, a run of byte-fallback tokens (whose last byte decides about all of them),
//       or, for a regular expression behind a fusing stage, the whole text.
#ifndef QUIRE_COORDINATOR_TEXT_DECODE_PIPELINE_H_
#define QUIRE_COORDINATOR_TEXT_DECODE_PIPELINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "coordinator/text/literal_or_regex.h"
#include "coordinator/text/pre_tokenizer.h"

namespace quire::text {

// What one stage remembers of one stream.
struct DecodeStageState {
  std::string held;   // input or output that is not decidable yet
  int64_t count = 0;  // tokens or characters seen, as far as the stage needs to count
};

struct DecodeState {
  std::vector<DecodeStageState> stages;
};

using TextSink = absl::FunctionRef<void(absl::string_view)>;

class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  // True when what a token becomes depends on that token only, and it is one token again.
  virtual bool is_per_token() const { return false; }
  // Prepares the state. `at_text_start`: what is decoded starts a text, it does not continue one.
  virtual void Start(bool at_text_start, DecodeStageState* state) const {}
  // Takes one token, or behind a fusing stage one fragment of the single token that is left.
  virtual void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const = 0;
  // Emits what is held.
  virtual void Finish(DecodeStageState* state, TextSink emit) const {}
};

using DecodeStagePtr = std::unique_ptr<const DecodeStage>;

// The byte that a <0xHH> token stands for.
absl::optional<char> ByteFallbackByte(absl::string_view token);

// Token by token, characters of the byte-level alphabet become bytes; a token with any other character is kept as is.
DecodeStagePtr MakeUnmapStage();
// All bytes become one text, malformed stretches U+FFFD. Fuses.
DecodeStagePtr MakeLossyUtf8Stage();
// <0xHH> tokens become bytes; a run of them that is not well-formed UTF-8 becomes one U+FFFD for each byte.
DecodeStagePtr MakeByteFallbackStage();
// Puts `content` in the place of every match inside a token.
DecodeStagePtr MakeDecodeReplaceStage(LiteralOrRegex pattern, std::string content, bool fused);
// Drops up to `start` and `stop` times the character at the ends of each token.
DecodeStagePtr MakeDecodeStripStage(std::string character, int64_t start, int64_t stop, bool fused);
// The replacement becomes a space; in the first token it is dropped unless the scheme is kNever.
DecodeStagePtr MakeDecodeMetaspaceStage(std::string replacement, PrependScheme scheme, bool fused);
// The suffix, which ends words, becomes a space; in the last token it is dropped.
DecodeStagePtr MakeDecodeSuffixStage(std::string suffix);
// The prefix of a token is dropped, and a token without one gets a space in front, but for the first token. `clean_up`
// takes out the spaces that English has not, token by token.
DecodeStagePtr MakeDecodeWordPieceStage(std::string prefix, bool clean_up);
// Puts a space between tokens: what the reference does without a decoder.
DecodeStagePtr MakeJoinStage();

// The stages in a row. What the leading per-token stages make of each token of the vocabulary is computed once, by
// MapToken; streams push mapped tokens.
class DecodePipeline final {
 public:
  explicit DecodePipeline(std::vector<DecodeStagePtr> stages);

  std::string MapToken(absl::string_view token) const;

  DecodeState Start(bool at_text_start) const;
  // Takes one token as MapToken gave it and appends the text that is now certain.
  void Push(absl::string_view mapped_token, DecodeState* state, std::string* text) const;
  // Appends what is held; the state must not be used again.
  void Finish(DecodeState* state, std::string* text) const;

 private:
  void PushFrom(size_t stage, absl::string_view token, DecodeState* state, std::string* text) const;

  std::vector<DecodeStagePtr> leading_;
  std::vector<DecodeStagePtr> stages_;
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_DECODE_PIPELINE_H_
