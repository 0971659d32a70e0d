#include "coordinator/text/sentencepiece_decode.h"

#include <string>

#include "absl/strings/strip.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

class SentencePieceDecodeStage final : public DecodeStage {
 public:
  explicit SentencePieceDecodeStage(const SentencePieceDecodeOptions& options) : options_(options) {}

  // The count is 0 as long as spaces may be dropped.
  void Start(bool at_text_start, DecodeStageState* state) const override { state->count = at_text_start ? 0 : 1; }

  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (options_.byte_fallback) {
      if (const absl::optional<char> byte = ByteFallbackByte(token); byte.has_value()) {
        state->held.push_back(*byte);
        return Drain(false, state, emit);
      }
    }
    Finish(state, emit);
    if (state->count == 0 && (options_.add_dummy_prefix || options_.remove_extra_whitespaces)) {
      const bool dropped = absl::ConsumePrefix(&token, " ");
      if (dropped && !options_.remove_extra_whitespaces) state->count = 1;
    }
    if (!token.empty()) state->count = 1;
    emit(token);
  }

  void Finish(DecodeStageState* state, TextSink emit) const override { Drain(true, state, emit); }

 private:
  static void Drain(bool at_end, DecodeStageState* state, TextSink emit) {
    std::string& held = state->held;
    while (!held.empty()) {
      state->count = 1;
      const size_t bad = FindInvalidUtf8(held);
      if (bad > 0) {
        const size_t whole = bad == absl::string_view::npos ? held.size() : bad;
        emit(absl::string_view(held).substr(0, whole));
        held.erase(0, whole);
        continue;
      }
      std::string unused;
      if (!at_end && AppendLossy(held, false, &unused) == 0) return;  // a character that is not complete yet
      emit(kReplacementCharacter);
      held.erase(0, 1);
    }
  }

  const SentencePieceDecodeOptions options_;
};

}  // namespace

DecodeStagePtr MakeSentencePieceDecodeStage(const SentencePieceDecodeOptions& options) {
  return std::make_unique<SentencePieceDecodeStage>(options);
}

}  // namespace quire::text
