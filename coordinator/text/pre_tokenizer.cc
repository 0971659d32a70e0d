#include "coordinator/text/pre_tokenizer.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/types/optional.h"
#include "coordinator/text/byte_map.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr char kGpt2Pattern[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// A stretch of the text that is either one match or the text between two.
struct Stretch {
  TextSpan span;
  bool is_match = false;
};

using MatchFinder = absl::FunctionRef<absl::Status(absl::string_view, absl::FunctionRef<absl::Status(TextSpan)>)>;

// Calls `visit` for each match and each gap, from left to right, together covering the text.
absl::Status ForEachStretch(absl::string_view text, MatchFinder find,
                            absl::FunctionRef<absl::Status(const Stretch&)> visit) {
  size_t covered = 0;
  absl::Status status = find(text, [&](TextSpan match) {
    if (covered < match.begin) {
      if (absl::Status gap = visit({{covered, match.begin}, false}); !gap.ok()) return gap;
    }
    covered = match.end;
    return visit({match, true});
  });
  if (!status.ok() || covered == text.size()) return status;
  return visit({{covered, text.size()}, false});
}

// Glues stretches together as the behaviour says. Source: TK tokenizer/normalizer.rs split.
std::vector<TextSpan> Glue(std::vector<Stretch> stretches, SplitBehavior behavior) {
  std::vector<TextSpan> spans;
  bool previous_match = false;
  const auto join = [behavior](bool is_match, bool previous) {
    return behavior == SplitBehavior::kContiguous ? is_match == previous : is_match && !previous;
  };
  if (behavior == SplitBehavior::kMergedWithNext) {
    for (auto it = stretches.rbegin(); it != stretches.rend(); ++it) {
      if (join(it->is_match, previous_match) && !spans.empty()) {
        spans.back().begin = it->span.begin;
      } else {
        spans.push_back(it->span);
      }
      previous_match = it->is_match;
    }
    return {spans.rbegin(), spans.rend()};
  }
  for (const Stretch& stretch : stretches) {
    if (join(stretch.is_match, previous_match) && !spans.empty()) {
      spans.back().end = stretch.span.end;
    } else {
      spans.push_back(stretch.span);
    }
    previous_match = stretch.is_match;
  }
  return spans;
}

absl::Status EmitSpan(const Piece& piece, TextSpan span, PieceSink sink) {
  if (span.begin == span.end) return absl::OkStatus();
  return sink({piece.text.substr(span.begin, span.end - span.begin), piece.at_start && span.begin == 0});
}

absl::Status SplitByMatches(const Piece& piece, MatchFinder find, SplitBehavior behavior, bool invert, PieceSink sink) {
  if (behavior == SplitBehavior::kIsolated || behavior == SplitBehavior::kRemoved) {
    return ForEachStretch(piece.text, find, [&](const Stretch& stretch) {
      const bool is_match = stretch.is_match != invert;
      if (is_match && behavior == SplitBehavior::kRemoved) return absl::OkStatus();
      return EmitSpan(piece, stretch.span, sink);
    });
  }
  std::vector<Stretch> stretches;
  absl::Status status = ForEachStretch(piece.text, find, [&](const Stretch& stretch) {
    stretches.push_back({stretch.span, stretch.is_match != invert});
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  for (TextSpan span : Glue(std::move(stretches), behavior)) {
    if (status = EmitSpan(piece, span, sink); !status.ok()) return status;
  }
  return absl::OkStatus();
}

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(LiteralOrRegex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    const auto find = [this](absl::string_view text, absl::FunctionRef<absl::Status(TextSpan)> visit) {
      return pattern_.ForEachMatch(text, visit);
    };
    return SplitByMatches(piece, find, behavior_, invert_, sink);
  }

 private:
  const LiteralOrRegex pattern_;
  const SplitBehavior behavior_;
  const bool invert_;
};

class CharClassPreTokenizer final : public PreTokenizer {
 public:
  CharClassPreTokenizer(bool (*is_match)(char32_t), SplitBehavior behavior)
      : is_match_(is_match), behavior_(behavior) {}

  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    const auto find = [this](absl::string_view text, absl::FunctionRef<absl::Status(TextSpan)> visit) {
      for (size_t pos = 0; pos < text.size();) {
        const size_t begin = pos;
        if (!is_match_(NextChar(text, &pos))) continue;
        if (absl::Status status = visit({begin, pos}); !status.ok()) return status;
      }
      return absl::OkStatus();
    };
    return SplitByMatches(piece, find, behavior_, false, sink);
  }

 private:
  bool (*const is_match_)(char32_t);
  const SplitBehavior behavior_;
};

class WordsPreTokenizer final : public PreTokenizer {
 public:
  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    enum class Kind { kSpace, kWord, kOther };
    size_t begin = 0;
    Kind run = Kind::kSpace;
    const auto emit = [&](size_t end) {
      return run == Kind::kSpace ? absl::OkStatus() : EmitSpan(piece, {begin, end}, sink);
    };
    for (size_t pos = 0; pos < piece.text.size();) {
      const size_t start = pos;
      const char32_t c = NextChar(piece.text, &pos);
      const Kind kind = IsWordChar(c) ? Kind::kWord : IsWhitespace(c) ? Kind::kSpace : Kind::kOther;
      if (kind == run) continue;
      if (absl::Status status = emit(start); !status.ok()) return status;
      begin = start;
      run = kind;
    }
    return emit(piece.text.size());
  }
};

class FixedLengthPreTokenizer final : public PreTokenizer {
 public:
  explicit FixedLengthPreTokenizer(int64_t length) : length_(length) { CHECK_GT(length, 0); }

  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    for (size_t begin = 0; begin < piece.text.size();) {
      size_t end = begin;
      for (int64_t i = 0; i < length_ && end < piece.text.size(); ++i) end += CharLength(piece.text[end]);
      if (absl::Status status = EmitSpan(piece, {begin, end}, sink); !status.ok()) return status;
      begin = end;
    }
    return absl::OkStatus();
  }

 private:
  const int64_t length_;
};

LiteralOrRegex Gpt2Pattern() {
  absl::StatusOr<std::unique_ptr<const Regex>> regex = Regex::Compile(kGpt2Pattern);
  CHECK(regex.ok()) << regex.status();
  return LiteralOrRegex::Expression(*std::move(regex));
}

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  explicit ByteLevelPreTokenizer(const ByteLevelOptions& options) : options_(options) {
    if (options.use_regex) words_ = Gpt2Pattern();
  }

  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    std::string spaced;
    Piece whole = piece;
    if (options_.add_prefix_space && !absl::StartsWith(piece.text, " ")) {
      spaced = absl::StrCat(" ", piece.text);
      whole.text = spaced;
    }
    std::string mapped;
    const auto emit = [&](const Piece& word) {
      if (!options_.map_bytes) return sink(word);
      mapped.clear();
      AppendMapped(word.text, &mapped);
      return sink({mapped, word.at_start});
    };
    if (!words_.has_value()) return emit(whole);
    const auto find = [this](absl::string_view text, absl::FunctionRef<absl::Status(TextSpan)> visit) {
      return words_->ForEachMatch(text, visit);
    };
    return SplitByMatches(whole, find, SplitBehavior::kIsolated, false, emit);
  }

 private:
  const ByteLevelOptions options_;
  absl::optional<LiteralOrRegex> words_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const MetaspaceOptions& options)
      : options_(options), space_(LiteralOrRegex::Literal(options.replacement)) {}

  absl::Status Split(const Piece& piece, PieceSink sink) const override {
    std::string text = absl::StrReplaceAll(piece.text, {{" ", options_.replacement}});
    const bool prepend = options_.prepend_scheme == PrependScheme::kAlways ||
                         (options_.prepend_scheme == PrependScheme::kFirst && piece.at_start);
    if (prepend && !absl::StartsWith(text, options_.replacement)) text.insert(0, options_.replacement);
    const Piece whole = {text, piece.at_start};
    if (!options_.split) return sink(whole);
    const auto find = [this](absl::string_view in, absl::FunctionRef<absl::Status(TextSpan)> visit) {
      return space_.ForEachMatch(in, visit);
    };
    return SplitByMatches(whole, find, SplitBehavior::kMergedWithNext, false, sink);
  }

 private:
  const MetaspaceOptions options_;
  const LiteralOrRegex space_;
};

absl::Status SplitFrom(const std::vector<PreTokenizerPtr>& stages, size_t index, const Piece& piece, PieceSink sink) {
  if (index == stages.size()) return sink(piece);
  return stages[index]->Split(piece, [&](const Piece& part) { return SplitFrom(stages, index + 1, part, sink); });
}

}  // namespace

PreTokenizerPtr MakeSplitPreTokenizer(LiteralOrRegex pattern, SplitBehavior behavior, bool invert) {
  return std::make_unique<SplitPreTokenizer>(std::move(pattern), behavior, invert);
}
PreTokenizerPtr MakeCharClassPreTokenizer(bool (*is_match)(char32_t), SplitBehavior behavior) {
  return std::make_unique<CharClassPreTokenizer>(is_match, behavior);
}
PreTokenizerPtr MakeWordsPreTokenizer() { return std::make_unique<WordsPreTokenizer>(); }
PreTokenizerPtr MakeFixedLengthPreTokenizer(int64_t length) {
  return std::make_unique<FixedLengthPreTokenizer>(length);
}
PreTokenizerPtr MakeByteLevelPreTokenizer(const ByteLevelOptions& options) {
  return std::make_unique<ByteLevelPreTokenizer>(options);
}
PreTokenizerPtr MakeMetaspacePreTokenizer(const MetaspaceOptions& options) {
  return std::make_unique<MetaspacePreTokenizer>(options);
}

namespace {

class BertPreTokenizer final : public PreTokenizer {
 public:
  BertPreTokenizer() {
    stages_.push_back(MakeCharClassPreTokenizer(IsWhitespace, SplitBehavior::kRemoved));
    stages_.push_back(MakeCharClassPreTokenizer(IsPunctuation, SplitBehavior::kIsolated));
  }
  absl::Status Split(const Piece& piece, PieceSink sink) const override { return SplitThrough(stages_, piece, sink); }

 private:
  std::vector<PreTokenizerPtr> stages_;
};

}  // namespace

PreTokenizerPtr MakeBertPreTokenizer() { return std::make_unique<BertPreTokenizer>(); }

absl::Status SplitThrough(const std::vector<PreTokenizerPtr>& stages, const Piece& piece, PieceSink sink) {
  return SplitFrom(stages, 0, piece, sink);
}

}  // namespace quire::text
