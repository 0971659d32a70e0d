#include "coordinator/text/bpe_files.h"

#include <glog/logging.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/byte_map.h"
#include "coordinator/text/json_node.h"
#include "coordinator/text/tokenizer_json.h"

namespace quire::text {
namespace {

using nlohmann::json;

constexpr char kQwenPattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kGlm4Pattern[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// How many <|extra_N|> tokens Qwen has.
constexpr int kQwenExtraTokens = 205;

bool IsOneOf(absl::string_view name, std::initializer_list<absl::string_view> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [name](absl::string_view prefix) { return absl::StartsWith(name, prefix); });
}

json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

void AddSpecialToken(std::string content, int32_t id, TokenizerConfig* config) {
  AddedToken token;
  token.id = id;
  token.content = std::move(content);
  token.special = true;
  config->added_tokens.push_back(std::move(token));
}

struct TiktokenFamily {
  const char* pattern = nullptr;
  bool nfc = false;
  std::vector<std::string> before;  // tokens in front of every text
};

// Fills in the family and the special tokens that it keeps in code, which come behind the last of the file.
absl::Status FindFamily(const std::string& path, int32_t end_id, TokenizerConfig* config, TiktokenFamily* family) {
  const std::string& name = config->tokenizer_class;
  if (IsOneOf(name, {"QWenTokenizer"}) || (name.empty() && absl::EndsWith(path, "/qwen.tiktoken"))) {
    family->pattern = kQwenPattern;
    family->nfc = true;
    int32_t id = end_id;
    for (const char* content : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) AddSpecialToken(content, id++, config);
    for (int i = 0; i < kQwenExtraTokens; ++i) AddSpecialToken(absl::StrCat("<|extra_", i, "|>"), id++, config);
    if (!config->eos_token.has_value()) config->eos_token = "<|endoftext|>";
    return absl::OkStatus();
  }
  if (IsOneOf(name, {"ChatGLM4Tokenizer"})) {
    family->pattern = kGlm4Pattern;
    family->before = {"[gMASK]", "<sop>"};
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat(path, ": a tiktoken file with tokenizer_class '", name,
                   "' in tokenizer_config.json: how such a model cuts its text is not known (known: QWenTokenizer, "
                   "ChatGLM4Tokenizer)"));
}

// Lines "BASE64 ID" to tokens in the byte-level alphabet.
absl::StatusOr<Vocabulary> ParseTiktoken(const std::string& path, absl::string_view bytes) {
  std::vector<std::pair<std::string, int32_t>> tokens;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(bytes, '\n')) {
    ++line_number;
    line = absl::StripSuffix(line, "\r");
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    std::string raw;
    int32_t id = -1;
    const bool good = space != absl::string_view::npos && absl::Base64Unescape(line.substr(0, space), &raw) &&
                      !raw.empty() && raw.size() <= kCutTokenBytesMax && absl::SimpleAtoi(line.substr(space + 1), &id);
    if (!good) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": line ", line_number, ": expected 1 to ",
                                                     kCutTokenBytesMax, " bytes in base64, a space and a number"));
    }
    std::string mapped;
    AppendMapped(raw, &mapped);
    tokens.emplace_back(std::move(mapped), id);
  }
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Build(std::move(tokens));
  if (vocabulary.ok()) return vocabulary;
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", vocabulary.status().message()));
}

absl::Status AddBefore(const std::string& path, const TiktokenFamily& family, TokenizerParts* parts) {
  for (const std::string& content : family.before) {
    const auto token = std::find_if(parts->added_tokens.begin(), parts->added_tokens.end(),
                                    [&](const AddedToken& added) { return added.content == content; });
    if (token == parts->added_tokens.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": every text starts with the token '", content,
                                                     "', and added_tokens_decoder of tokenizer_config.json lacks it"));
    }
    parts->special_tokens.before.push_back(token->id);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerParts> MakeVocabMergesTokenizer(const std::string& path, const json& vocab,
                                                        absl::string_view merges, const TokenizerConfig& config) {
  json pre_tokenizer = ByteLevel(true);
  json normalizer;
  if (IsOneOf(config.tokenizer_class, {"Qwen2Tokenizer"})) {
    normalizer = {{"type", "NFC"}};
    json split = {{"type", "Split"}, {"pattern", {{"Regex", kQwenPattern}}}, {"behavior", "Isolated"}};
    pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", json::array({std::move(split), ByteLevel(false)})}};
  } else if (IsOneOf(config.tokenizer_class, {"GPTNeoXTokenizer"})) {
    normalizer = {{"type", "NFC"}};
  } else if (!config.tokenizer_class.empty() &&
             !IsOneOf(config.tokenizer_class, {"GPT2Tokenizer", "CodeGenTokenizer"})) {
    return absl::UnimplementedError(
        absl::StrCat(path, ": tokenizer_class '", config.tokenizer_class,
                     "' in tokenizer_config.json: how such a model cuts its text is not known (known: GPT2Tokenizer, "
                     "CodeGenTokenizer, GPTNeoXTokenizer, Qwen2Tokenizer)"));
  }
  json lines = json::array();
  for (absl::string_view line : absl::StrSplit(merges, '\n')) {
    line = absl::StripSuffix(line, "\r");
    if (!line.empty()) lines.push_back(std::string(line));
  }
  const json whole = {{"normalizer", std::move(normalizer)},
                      {"pre_tokenizer", std::move(pre_tokenizer)},
                      {"decoder", ByteLevel(true)},
                      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", std::move(lines)}}}};
  absl::Status status;
  TokenizerParts parts = ParseTokenizer(JsonNode(&whole, absl::StrCat(path, " with merges.txt"), &status), config);
  if (!status.ok()) return status;
  return parts;
}

bool LooksLikeTiktoken(absl::string_view bytes) {
  if (bytes.empty()) return false;
  const char first = bytes[0];
  return absl::ascii_isalnum(static_cast<unsigned char>(first)) || first == '+' || first == '/';
}

absl::StatusOr<TokenizerParts> MakeTiktokenTokenizer(const std::string& path, absl::string_view bytes,
                                                     TokenizerConfig* config) {
  absl::StatusOr<Vocabulary> vocabulary = ParseTiktoken(path, bytes);
  if (!vocabulary.ok()) return vocabulary.status();
  TiktokenFamily family;
  if (absl::Status status = FindFamily(path, vocabulary->end_id(), config, &family); !status.ok()) return status;

  TokenizerParts parts;
  parts.vocabulary = std::make_unique<const Vocabulary>(*std::move(vocabulary));
  BpeOptions options;
  options.merge_concatenations = true;
  options.ignore_merges = true;
  options.byte_level = true;
  absl::StatusOr<std::unique_ptr<const TokenModel>> model = BpeModel::Create(parts.vocabulary.get(), options);
  CHECK(model.ok()) << model.status();  // only listed merges can be wrong
  parts.model = *std::move(model);
  if (!parts.model->encodes_bytes()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not every single byte is a token"));
  }
  parts.pieces_are_bytes = true;
  if (family.nfc) parts.normalizer = MakeFormNormalizer(NormalForm::kNfc);
  absl::StatusOr<std::unique_ptr<const Regex>> regex = Regex::Compile(family.pattern);
  CHECK(regex.ok()) << regex.status();
  parts.pre_tokenizers.push_back(
      MakeSplitPreTokenizer(LiteralOrRegex::Expression(*std::move(regex)), SplitBehavior::kIsolated, /*invert=*/false));
  parts.decode_stages.push_back(MakeUnmapStage());
  parts.decode_stages.push_back(MakeLossyUtf8Stage());
  for (AddedToken& token : config->added_tokens) token.normalized = false;
  if (absl::Status status = ApplyTokenizerConfig(path, *config, &parts); !status.ok()) return status;
  if (absl::Status status = AddBefore(path, family, &parts); !status.ok()) return status;
  return parts;
}

}  // namespace quire::text
