#include "coordinator/text/decode_pipeline.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "coordinator/text/byte_map.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

class UnmapStage final : public DecodeStage {
 public:
  bool is_per_token() const override { return true; }
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    std::string bytes;
    emit(UnmapBytes(token, &bytes) ? absl::string_view(bytes) : token);
  }
};

class LossyUtf8Stage final : public DecodeStage {
 public:
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (state->held.empty() && FindInvalidUtf8(token) == absl::string_view::npos) return emit(token);
    state->held.append(token.data(), token.size());
    Drain(false, state, emit);
  }
  void Finish(DecodeStageState* state, TextSink emit) const override { Drain(true, state, emit); }

 private:
  static void Drain(bool at_end, DecodeStageState* state, TextSink emit) {
    std::string repaired;
    state->held.erase(0, AppendLossy(state->held, at_end, &repaired));
    emit(repaired);
  }
};

class ByteFallbackStage final : public DecodeStage {
 public:
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (absl::optional<char> byte = ByteFallbackByte(token); byte.has_value()) {
      state->held.push_back(*byte);
      return;
    }
    Finish(state, emit);
    emit(token);
  }
  void Finish(DecodeStageState* state, TextSink emit) const override {
    if (state->held.empty()) return;
    if (FindInvalidUtf8(state->held) == absl::string_view::npos) {
      emit(state->held);
    } else {
      for (size_t i = 0; i < state->held.size(); ++i) emit(kReplacementCharacter);
    }
    state->held.clear();
  }
};

class ReplaceStage final : public DecodeStage {
 public:
  ReplaceStage(LiteralOrRegex pattern, std::string content, bool fused)
      : pattern_(std::move(pattern)), content_(std::move(content)), fused_(fused) {}

  bool is_per_token() const override { return !fused_; }
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (!fused_) return emit(Replaced(token));
    state->held.append(token.data(), token.size());
    if (pattern_.literal().empty()) return;  // a later fragment can change any match of an expression
    // All matches of a literal in what is held are final; a match still to come starts in the last bytes.
    const size_t tail = std::min(state->held.size(), pattern_.literal().size() - 1);
    size_t decided = std::max(state->held.size() - tail, LastMatchEnd(state->held));
    while (decided < state->held.size() && (static_cast<unsigned char>(state->held[decided]) & 0xC0) == 0x80) --decided;
    emit(Replaced(absl::string_view(state->held).substr(0, decided)));
    state->held.erase(0, decided);
  }
  void Finish(DecodeStageState* state, TextSink emit) const override {
    if (!state->held.empty()) emit(Replaced(state->held));
  }

 private:
  size_t LastMatchEnd(absl::string_view text) const {
    size_t end = 0;
    const absl::Status status = pattern_.ForEachMatch(text, [&](TextSpan match) {
      end = match.end;
      return absl::OkStatus();
    });
    CHECK(status.ok()) << status;  // a literal cannot fail
    return end;
  }

  std::string Replaced(absl::string_view text) const {
    std::string out;
    // Only an expression can fail, by running too long on this text; then the text stays as it is.
    if (!pattern_.Replace(text, content_, &out).ok()) return std::string(text);
    return out;
  }

  const LiteralOrRegex pattern_;
  const std::string content_;
  const bool fused_;
};

class StripStage final : public DecodeStage {
 public:
  StripStage(std::string character, int64_t start, int64_t stop, bool fused)
      : character_(std::move(character)), start_(start), stop_(stop), fused_(fused) {}

  // The count is how many characters may still be dropped at the start.
  void Start(bool at_text_start, DecodeStageState* state) const override {
    state->count = fused_ && !at_text_start ? 0 : start_;
  }

  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (!fused_) state->count = start_;
    while (state->count > 0 && absl::ConsumePrefix(&token, character_)) --state->count;
    if (!token.empty()) state->count = 0;
    // Up to stop_ characters at the end are held: they are dropped if nothing follows.
    state->held.append(token.data(), token.size());
    size_t end = state->held.size();
    for (int64_t i = 0; i < stop_ && absl::EndsWith(absl::string_view(state->held).substr(0, end), character_); ++i) {
      end -= character_.size();
    }
    emit(absl::string_view(state->held).substr(0, end));
    state->held.erase(0, fused_ ? end : state->held.size());
  }

 private:
  const std::string character_;
  const int64_t start_;
  const int64_t stop_;
  const bool fused_;
};

class MetaspaceStage final : public DecodeStage {
 public:
  MetaspaceStage(std::string replacement, PrependScheme scheme, bool fused)
      : replacement_(std::move(replacement)), scheme_(scheme), fused_(fused) {}

  // The count is 0 as long as the stage is in the first token of the text.
  void Start(bool at_text_start, DecodeStageState* state) const override { state->count = at_text_start ? 0 : 1; }

  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    const bool drop = state->count == 0 && scheme_ != PrependScheme::kNever;
    if (!fused_) ++state->count;
    emit(absl::StrReplaceAll(token, {{replacement_, drop ? "" : " "}}));
  }

 private:
  const std::string replacement_;
  const PrependScheme scheme_;
  const bool fused_;
};

class SuffixStage final : public DecodeStage {
 public:
  explicit SuffixStage(std::string suffix) : suffix_(std::move(suffix)) {}

  // Holds the latest token: it may be the last one. The count is 1 as soon as there is one.
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (state->count > 0) emit(absl::StrReplaceAll(state->held, {{suffix_, " "}}));
    state->held.assign(token.data(), token.size());
    state->count = 1;
  }
  void Finish(DecodeStageState* state, TextSink emit) const override {
    if (state->count > 0) emit(absl::StrReplaceAll(state->held, {{suffix_, ""}}));
  }

 private:
  const std::string suffix_;
};

// Source: TK decoders/wordpiece.rs cleanup; one after the other, as what one leaves another may find.
std::string CleanedUp(std::string text) {
  constexpr std::pair<const char*, const char*> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& rule : kRules) text = absl::StrReplaceAll(text, {rule});
  return text;
}

class WordPieceStage final : public DecodeStage {
 public:
  WordPieceStage(std::string prefix, bool clean_up) : prefix_(std::move(prefix)), clean_up_(clean_up) {}
  void Start(bool at_text_start, DecodeStageState* state) const override { state->count = at_text_start ? 0 : 1; }
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    std::string text(token);
    if (state->count++ > 0) text = absl::StartsWith(token, prefix_) ? text.substr(prefix_.size()) : " " + text;
    emit(clean_up_ ? CleanedUp(std::move(text)) : text);
  }

 private:
  const std::string prefix_;
  const bool clean_up_;
};

class JoinStage final : public DecodeStage {
 public:
  void Start(bool at_text_start, DecodeStageState* state) const override { state->count = at_text_start ? 0 : 1; }
  void Push(absl::string_view token, DecodeStageState* state, TextSink emit) const override {
    if (state->count++ > 0) emit(" ");
    emit(token);
  }
};

}  // namespace

absl::optional<char> ByteFallbackByte(absl::string_view token) {
  uint32_t byte = 0;
  if (token.size() != 6 || !absl::StartsWith(token, "<0x") || token[5] != '>') return absl::nullopt;
  if (!absl::ascii_isxdigit(static_cast<unsigned char>(token[3]))) return absl::nullopt;
  if (!absl::SimpleHexAtoi(token.substr(3, 2), &byte)) return absl::nullopt;
  return static_cast<char>(byte);
}

DecodeStagePtr MakeUnmapStage() { return std::make_unique<UnmapStage>(); }
DecodeStagePtr MakeLossyUtf8Stage() { return std::make_unique<LossyUtf8Stage>(); }
DecodeStagePtr MakeByteFallbackStage() { return std::make_unique<ByteFallbackStage>(); }
DecodeStagePtr MakeDecodeReplaceStage(LiteralOrRegex pattern, std::string content, bool fused) {
  return std::make_unique<ReplaceStage>(std::move(pattern), std::move(content), fused);
}
DecodeStagePtr MakeDecodeStripStage(std::string character, int64_t start, int64_t stop, bool fused) {
  return std::make_unique<StripStage>(std::move(character), start, stop, fused);
}
DecodeStagePtr MakeDecodeMetaspaceStage(std::string replacement, PrependScheme scheme, bool fused) {
  return std::make_unique<MetaspaceStage>(std::move(replacement), scheme, fused);
}
DecodeStagePtr MakeDecodeSuffixStage(std::string suffix) { return std::make_unique<SuffixStage>(std::move(suffix)); }
DecodeStagePtr MakeDecodeWordPieceStage(std::string prefix, bool clean_up) {
  return std::make_unique<WordPieceStage>(std::move(prefix), clean_up);
}
DecodeStagePtr MakeJoinStage() { return std::make_unique<JoinStage>(); }

DecodePipeline::DecodePipeline(std::vector<DecodeStagePtr> stages) {
  for (DecodeStagePtr& stage : stages) {
    const bool leading = stages_.empty() && stage->is_per_token();
    (leading ? leading_ : stages_).push_back(std::move(stage));
  }
}

std::string DecodePipeline::MapToken(absl::string_view token) const {
  std::string mapped(token);
  for (const DecodeStagePtr& stage : leading_) {
    DecodeStageState unused;
    std::string next;
    stage->Push(mapped, &unused, [&](absl::string_view part) { absl::StrAppend(&next, part); });
    mapped.swap(next);
  }
  return mapped;
}

DecodeState DecodePipeline::Start(bool at_text_start) const {
  DecodeState state;
  state.stages.resize(stages_.size());
  for (size_t i = 0; i < stages_.size(); ++i) stages_[i]->Start(at_text_start, &state.stages[i]);
  return state;
}

void DecodePipeline::PushFrom(size_t stage, absl::string_view token, DecodeState* state, std::string* text) const {
  if (stage == stages_.size()) {
    text->append(token.data(), token.size());
    return;
  }
  stages_[stage]->Push(token, &state->stages[stage],
                       [&](absl::string_view part) { PushFrom(stage + 1, part, state, text); });
}

void DecodePipeline::Push(absl::string_view mapped_token, DecodeState* state, std::string* text) const {
  CHECK_EQ(state->stages.size(), stages_.size()) << "a state of another tokenizer";
  PushFrom(0, mapped_token, state, text);
}

void DecodePipeline::Finish(DecodeState* state, std::string* text) const {
  for (size_t stage = 0; stage < stages_.size(); ++stage) {
    stages_[stage]->Finish(&state->stages[stage],
                           [&](absl::string_view part) { PushFrom(stage + 1, part, state, text); });
  }
}

}  // namespace quire::text
