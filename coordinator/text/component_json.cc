#include "coordinator/text/component_json.h"

#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/bert_normalizer.h"
#include "coordinator/text/precompiled_normalizer.h"
#include "coordinator/text/unicode.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

constexpr int64_t kStripMax = 1 << 20;
constexpr int64_t kFixedLengthDefault = 5;

void FailType(const JsonNode& node, absl::string_view slot) {
  node.FailUnimplemented(absl::StrCat(slot, " of type '", node.Type(), "' is not supported"));
}

// A pattern is {"String": ...} or {"Regex": ...}, in old files the bare string.
absl::optional<LiteralOrRegex> ParsePattern(const JsonNode& node) {
  const JsonNode expression = node.is_object() ? node.At("Regex") : node;
  if (node.is_object() && !expression.is_null()) {
    const std::string pattern = expression.String();
    if (!node.ok()) return absl::nullopt;
    absl::StatusOr<std::unique_ptr<const Regex>> regex = Regex::Compile(pattern);
    if (!regex.ok()) {
      expression.Fail(regex.status());
      return absl::nullopt;
    }
    return LiteralOrRegex::Expression(*std::move(regex));
  }
  std::string literal = (node.is_object() ? node.At("String") : node).String();
  if (node.ok() && literal.empty()) node.Fail("an empty pattern");
  if (!node.ok()) return absl::nullopt;
  return LiteralOrRegex::Literal(std::move(literal));
}

std::string ParseChar(const JsonNode& node) {
  std::string text = node.String();
  if (node.ok() && (text.empty() || CharLength(text[0]) != text.size())) node.Fail("expected a single character");
  return text;
}

SplitBehavior ParseBehavior(const JsonNode& node) {
  const std::string name = node.String();
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  node.Fail(absl::StrCat("unknown behavior '", name, "'"));
  return SplitBehavior::kIsolated;
}

PrependScheme ParsePrependScheme(const JsonNode& metaspace) {
  const JsonNode node = metaspace.At("prepend_scheme");
  const std::string name = node.is_null() ? "always" : node.String();
  // The older flag may only say what the scheme says too.
  const bool add_prefix_space = metaspace.At("add_prefix_space").BoolOr(true);
  if (!add_prefix_space && !node.is_null() && name != "never") {
    metaspace.Fail("add_prefix_space is false and prepend_scheme is not 'never'");
  }
  if (!add_prefix_space || name == "never") return PrependScheme::kNever;
  if (name == "always") return PrependScheme::kAlways;
  if (name != "first") node.Fail(absl::StrCat("unknown prepend_scheme '", name, "'"));
  return PrependScheme::kFirst;
}

MetaspaceOptions ParseMetaspace(const JsonNode& node) {
  MetaspaceOptions options;
  options.replacement = ParseChar(node.At("replacement"));
  options.prepend_scheme = ParsePrependScheme(node);
  options.split = node.At("split").BoolOr(true);
  return options;
}

// Calls `visit` for the component itself, or for each member of a Sequence, at any depth.
template <typename Visit>
void ForEachMember(const JsonNode& node, absl::string_view list_key, const Visit& visit) {
  if (node.is_null() || !node.ok()) return;
  if (node.Type() != "Sequence") {
    visit(node);
    return;
  }
  const JsonNode list = node.At(list_key);
  for (size_t i = 0, size = list.ArraySize(); i < size && node.ok(); ++i) {
    if (list.At(i).is_null()) list.At(i).Fail("expected an object, found null");
    ForEachMember(list.At(i), list_key, visit);
  }
}

NormalizerPtr ParsePrecompiled(const JsonNode& node) {
  std::string blob;
  const std::string encoded = node.is_null() ? "" : node.String();
  if (!absl::Base64Unescape(encoded, &blob)) node.Fail("not base64");
  absl::StatusOr<Charsmap> map = Charsmap::Parse(blob);
  if (!map.ok()) node.Fail(map.status());
  if (!node.ok()) return nullptr;
  return MakePrecompiledNormalizer(*std::move(map));
}

NormalizerPtr ParseBertNormalizer(const JsonNode& node) {
  BertNormalizerOptions options;
  options.clean_text = node.At("clean_text").BoolOr(true);
  options.handle_chinese_chars = node.At("handle_chinese_chars").BoolOr(true);
  options.lowercase = node.At("lowercase").BoolOr(true);
  options.strip_accents = node.At("strip_accents").BoolOr(options.lowercase);
  return MakeBertNormalizer(options);
}

NormalizerPtr ParseOneNormalizer(const JsonNode& node) {
  const std::string type = node.Type();
  if (type == "Prepend") return MakePrependNormalizer(node.At("prepend").String());
  if (type == "NFC") return MakeFormNormalizer(NormalForm::kNfc);
  if (type == "NFD") return MakeFormNormalizer(NormalForm::kNfd);
  if (type == "NFKC") return MakeFormNormalizer(NormalForm::kNfkc);
  if (type == "NFKD") return MakeFormNormalizer(NormalForm::kNfkd);
  if (type == "Lowercase") return MakeCharNormalizer(AppendLower);
  if (type == "BertNormalizer") return ParseBertNormalizer(node);
  if (type == "StripAccents") return MakeStripAccentsNormalizer();
  if (type == "Nmt") return MakeCharNormalizer(RewriteNmt);
  if (type == "ByteLevel") return MakeCharNormalizer(RewriteAsMappedBytes);
  if (type == "Precompiled") return ParsePrecompiled(node.At("precompiled_charsmap"));
  if (type == "Strip") {
    return MakeStripNormalizer(node.At("strip_left").BoolOr(true), node.At("strip_right").BoolOr(true));
  }
  if (type == "Replace") {
    absl::optional<LiteralOrRegex> pattern = ParsePattern(node.At("pattern"));
    std::string content = node.At("content").String();
    if (!node.ok()) return nullptr;
    return MakeReplaceNormalizer(*std::move(pattern), std::move(content));
  }
  FailType(node, "normalizer");
  return nullptr;
}

PreTokenizerPtr ParseOnePreTokenizer(const JsonNode& node) {
  const std::string type = node.Type();
  if (type == "ByteLevel") {
    ByteLevelOptions options;
    options.add_prefix_space = node.At("add_prefix_space").BoolOr(true);
    options.use_regex = node.At("use_regex").BoolOr(true);
    return MakeByteLevelPreTokenizer(options);
  }
  if (type == "Split") {
    absl::optional<LiteralOrRegex> pattern = ParsePattern(node.At("pattern"));
    const SplitBehavior behavior = ParseBehavior(node.At("behavior"));
    const bool invert = node.At("invert").BoolOr(false);
    if (!node.ok()) return nullptr;
    return MakeSplitPreTokenizer(*std::move(pattern), behavior, invert);
  }
  if (type == "Digits") {
    const bool individual = node.At("individual_digits").BoolOr(false);
    return MakeCharClassPreTokenizer(IsNumeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    const JsonNode behavior = node.At("behavior");
    return MakeCharClassPreTokenizer(IsPunctuation,
                                     behavior.is_null() ? SplitBehavior::kIsolated : ParseBehavior(behavior));
  }
  if (type == "WhitespaceSplit") return MakeCharClassPreTokenizer(IsWhitespace, SplitBehavior::kRemoved);
  if (type == "BertPreTokenizer") return MakeBertPreTokenizer();
  if (type == "Whitespace") return MakeWordsPreTokenizer();
  if (type == "CharDelimiterSplit") {
    std::string delimiter = ParseChar(node.At("delimiter"));
    if (!node.ok()) return nullptr;
    return MakeSplitPreTokenizer(LiteralOrRegex::Literal(std::move(delimiter)), SplitBehavior::kRemoved, false);
  }
  if (type == "FixedLength") {
    const JsonNode length = node.At("length");
    const int64_t characters = length.is_null() ? kFixedLengthDefault : length.Int(1, INT32_MAX);
    return node.ok() ? MakeFixedLengthPreTokenizer(characters) : nullptr;
  }
  if (type == "Metaspace") {
    const MetaspaceOptions options = ParseMetaspace(node);
    if (!node.ok()) return nullptr;
    return MakeMetaspacePreTokenizer(options);
  }
  FailType(node, "pre_tokenizer");
  return nullptr;
}

// `fused`: the stages so far leave one token, the whole text.
void ParseOneDecoder(const JsonNode& node, bool* fused, TokenizerParts* parts) {
  const std::string type = node.Type();
  std::vector<DecodeStagePtr>& stages = parts->decode_stages;
  if (type == "Fuse") {
    *fused = true;
  } else if (type == "ByteLevel" || type == "ByteFallback") {
    if (*fused) {
      node.FailUnimplemented(absl::StrCat("decoder of type '", type, "' behind one that fuses all tokens"));
    } else if (type == "ByteLevel") {
      stages.push_back(MakeUnmapStage());
      stages.push_back(MakeLossyUtf8Stage());
      *fused = true;
    } else {
      stages.push_back(MakeByteFallbackStage());
      parts->decodes_byte_fallback = true;
    }
  } else if (type == "Replace") {
    absl::optional<LiteralOrRegex> pattern = ParsePattern(node.At("pattern"));
    std::string content = node.At("content").String();
    if (node.ok()) stages.push_back(MakeDecodeReplaceStage(*std::move(pattern), std::move(content), *fused));
  } else if (type == "Strip") {
    std::string character = ParseChar(node.At("content"));
    const int64_t start = node.At("start").Int(0, kStripMax);
    const int64_t stop = node.At("stop").Int(0, kStripMax);
    if (node.ok()) stages.push_back(MakeDecodeStripStage(std::move(character), start, stop, *fused));
  } else if (type == "BPEDecoder") {
    if (*fused) return node.FailUnimplemented("decoder of type 'BPEDecoder' behind one that fuses all tokens");
    const JsonNode suffix = node.At("suffix");
    std::string text = suffix.is_null() ? "</w>" : suffix.String();
    if (node.ok() && text.empty()) suffix.Fail("an empty suffix");
    if (node.ok()) stages.push_back(MakeDecodeSuffixStage(std::move(text)));
  } else if (type == "WordPiece") {
    if (*fused) return node.FailUnimplemented("decoder of type 'WordPiece' behind one that fuses all tokens");
    const JsonNode prefix = node.At("prefix");
    std::string text = prefix.is_null() ? "##" : prefix.String();
    const bool clean_up = node.At("cleanup").BoolOr(true);
    if (node.ok() && text.empty()) prefix.Fail("an empty prefix");
    if (node.ok()) stages.push_back(MakeDecodeWordPieceStage(std::move(text), clean_up));
  } else if (type == "Metaspace") {
    const MetaspaceOptions options = ParseMetaspace(node);
    if (node.ok()) {
      stages.push_back(MakeDecodeMetaspaceStage(options.replacement, options.prepend_scheme, *fused));
    }
  } else {
    FailType(node, "decoder");
  }
}

SpecialTokenTemplate ParseTemplate(const JsonNode& node) {
  SpecialTokenTemplate result;
  const JsonNode single = node.At("single");
  int texts = 0;
  for (size_t i = 0, size = single.ArraySize(); i < size && node.ok(); ++i) {
    const JsonNode item = single.At(i);
    if (!item.At("Sequence").is_null()) {
      if (item.At("Sequence").At("id").String() != "A") item.Fail("a single template may only hold sequence A");
      ++texts;
      continue;
    }
    const std::string name = item.At("SpecialToken").At("id").String();
    const JsonNode ids = node.At("special_tokens").At(name).At("ids");
    for (size_t k = 0, count = ids.ArraySize(); k < count && node.ok(); ++k) {
      (texts == 0 ? result.before : result.after).push_back(static_cast<int32_t>(ids.At(k).Int(0, kTokenIdMax)));
    }
  }
  if (node.ok() && texts != 1) single.FailUnimplemented("a template that does not hold the text exactly once");
  return result;
}

// Roberta and Bert: the token `cls` before the text, `sep` behind it, each as [token, id].
SpecialTokenTemplate ParseClsSep(const JsonNode& node) {
  const auto id = [](const JsonNode& pair) {
    if (pair.ArraySize() != 2) pair.Fail("expected a token and its id");
    return static_cast<int32_t>(pair.At(1).Int(0, kTokenIdMax));
  };
  return {{id(node.At("cls"))}, {id(node.At("sep"))}};
}

}  // namespace

NormalizerPtr ParseNormalizer(const JsonNode& node) {
  std::vector<NormalizerPtr> parts;
  ForEachMember(node, "normalizers", [&](const JsonNode& member) { parts.push_back(ParseOneNormalizer(member)); });
  if (!node.ok() || parts.empty()) return nullptr;
  return parts.size() == 1 ? std::move(parts[0]) : MakeSequenceNormalizer(std::move(parts));
}

bool EndsInByteLevel(const JsonNode& node) {
  std::string last;
  ForEachMember(node, "pretokenizers", [&](const JsonNode& member) { last = member.Type(); });
  return last == "ByteLevel";
}

std::vector<PreTokenizerPtr> ParsePreTokenizers(const JsonNode& node, const PreTokenizerOverrides& overrides) {
  std::vector<PreTokenizerPtr> stages;
  ByteLevelOptions last;
  ForEachMember(node, "pretokenizers", [&](const JsonNode& member) {
    stages.push_back(ParseOnePreTokenizer(member));
    if (member.Type() != "ByteLevel") return;
    last.add_prefix_space = member.At("add_prefix_space").BoolOr(true);
    last.use_regex = member.At("use_regex").BoolOr(true);
  });
  if (!node.ok() || !EndsInByteLevel(node)) return stages;
  if (overrides.add_prefix_space.has_value() && node.Type() == "ByteLevel") {
    last.add_prefix_space = *overrides.add_prefix_space;
  }
  last.map_bytes = !overrides.last_leaves_bytes;
  stages.back() = MakeByteLevelPreTokenizer(last);
  return stages;
}

void ParseDecoder(const JsonNode& node, TokenizerParts* parts) {
  if (node.is_null()) {
    parts->decode_stages.push_back(MakeJoinStage());
    return;
  }
  bool fused = false;
  ForEachMember(node, "decoders", [&](const JsonNode& member) { ParseOneDecoder(member, &fused, parts); });
}

SpecialTokenTemplate ParsePostProcessor(const JsonNode& node) {
  SpecialTokenTemplate result;
  ForEachMember(node, "processors", [&](const JsonNode& member) {
    const std::string type = member.Type();
    if (type == "ByteLevel") return;  // moves offsets only
    const bool has_cls = type == "RobertaProcessing" || type == "BertProcessing";
    if (!has_cls && type != "TemplateProcessing") return FailType(member, "post_processor");
    const SpecialTokenTemplate next = has_cls ? ParseClsSep(member) : ParseTemplate(member);
    result.before.insert(result.before.begin(), next.before.begin(), next.before.end());
    result.after.insert(result.after.end(), next.after.begin(), next.after.end());
  });
  return result;
}

}  // namespace quire::text
