#include "coordinator/text/precompiled_normalizer.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "coordinator/text/piece_trie.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr absl::string_view kSpaceSymbol = "\xE2\x96\x81";

// Longer graphemes are not looked up as a whole.
constexpr size_t kGraphemeBytesMax = 5;

class PrecompiledNormalizer final : public Normalizer {
 public:
  explicit PrecompiledNormalizer(Charsmap map) : map_(std::move(map)) {}

  absl::Status Apply(std::string* text) const override {
    std::string out;
    out.reserve(text->size());
    for (size_t pos = 0; pos < text->size();) {
      const size_t end = GraphemeEnd(*text, pos);
      const absl::string_view grapheme = absl::string_view(*text).substr(pos, end - pos);
      pos = end;
      if (grapheme.size() <= kGraphemeBytesMax && AppendReplacement(grapheme, &out)) continue;
      for (size_t at = 0; at < grapheme.size();) {
        const absl::string_view character = grapheme.substr(at, CharLength(grapheme[at]));
        at += character.size();
        if (!AppendReplacement(character, &out)) out.append(character.data(), character.size());
      }
    }
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  // The reference takes the shortest rule that starts the stretch and replaces the whole stretch by it.
  bool AppendReplacement(absl::string_view stretch, std::string* out) const {
    const absl::optional<Charsmap::Match> match = map_.Shortest(stretch);
    if (match.has_value()) out->append(match->replacement.data(), match->replacement.size());
    return match.has_value();
  }

  const Charsmap map_;
};

class SentencePieceNormalizer final : public Normalizer {
 public:
  SentencePieceNormalizer(Charsmap map, const SentencePieceNormalizerOptions& options)
      : map_(std::move(map)),
        add_dummy_prefix_(options.add_dummy_prefix),
        remove_extra_whitespaces_(options.remove_extra_whitespaces) {
    for (const std::string& piece : options.user_defined) user_defined_.Add(piece, 0);
  }

  absl::Status Apply(std::string* text) const override {
    const absl::string_view in = *text;
    size_t pos = 0;
    if (remove_extra_whitespaces_) {
      for (Step step; pos < in.size() && (step = Next(in, pos)).out == " ";) pos += step.length;
    }
    std::string out;
    if (pos < in.size()) {
      out.reserve(in.size() + in.size() / 2);
      if (add_dummy_prefix_) absl::StrAppend(&out, kSpaceSymbol);
      bool after_space = remove_extra_whitespaces_;
      while (pos < in.size()) {
        Step step = Next(in, pos);
        pos += step.length;
        while (after_space && absl::ConsumePrefix(&step.out, " ")) continue;
        if (step.out.empty()) continue;
        AppendEscaped(step.out, &out);
        after_space = remove_extra_whitespaces_ && step.out.back() == ' ';
      }
      while (remove_extra_whitespaces_ && absl::EndsWith(out, kSpaceSymbol))
        out.resize(out.size() - kSpaceSymbol.size());
    }
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  struct Step {
    size_t length = 0;      // of the input that is replaced
    absl::string_view out;  // what it becomes
  };

  Step Next(absl::string_view in, size_t pos) const {
    size_t length = 0;
    user_defined_.ForEachPrefix(in, pos, [&length](size_t longer, int32_t) { length = longer; });
    if (length > 0) return {length, in.substr(pos, length)};
    if (const absl::optional<Charsmap::Match> match = map_.Longest(in.substr(pos)); match.has_value()) {
      return {match->length, match->replacement};
    }
    length = CharLength(in[pos]);
    return {length, in.substr(pos, length)};
  }

  static void AppendEscaped(absl::string_view in, std::string* out) {
    for (char c : in) {
      if (c == ' ') {
        out->append(kSpaceSymbol.data(), kSpaceSymbol.size());
      } else {
        out->push_back(c);
      }
    }
  }

  const Charsmap map_;
  const bool add_dummy_prefix_;
  const bool remove_extra_whitespaces_;
  PieceTrie user_defined_;
};

}  // namespace

NormalizerPtr MakePrecompiledNormalizer(Charsmap map) {
  return std::make_unique<PrecompiledNormalizer>(std::move(map));
}
NormalizerPtr MakeSentencePieceNormalizer(Charsmap map, const SentencePieceNormalizerOptions& options) {
  return std::make_unique<SentencePieceNormalizer>(std::move(map), options);
}

}  // namespace quire::text
