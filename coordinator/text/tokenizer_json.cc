#include "coordinator/text/tokenizer_json.h"

#include <glog/logging.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/component_json.h"
#include "coordinator/text/unigram_model.h"
#include "coordinator/text/word_level_model.h"
#include "coordinator/text/word_piece_model.h"

namespace quire::text {
namespace {

using nlohmann::json;

// The two large tables are read without a node per entry: a vocabulary has hundreds of thousands.
std::unique_ptr<const Vocabulary> ParseVocabulary(const JsonNode& node) {
  if (!node.is_object()) {
    node.Fail("expected an object");
    return nullptr;
  }
  std::vector<std::pair<std::string, int32_t>> tokens;
  tokens.reserve(node.value().size());
  for (const auto& [token, id] : node.value().items()) {
    const bool in_range = id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= kTokenIdMax;
    if (!in_range) {
      node.Fail(absl::StrCat("token '", token, "' has id ", id.dump(-1, ' ', false, json::error_handler_t::replace),
                             ", expected an integer from 0 to ", kTokenIdMax));
      return nullptr;
    }
    tokens.emplace_back(token, id.get<int32_t>());
  }
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Build(std::move(tokens));
  if (!vocabulary.ok()) {
    node.Fail(vocabulary.status());
    return nullptr;
  }
  return std::make_unique<const Vocabulary>(*std::move(vocabulary));
}

// A merge is ["a", "b"] or, in older files, "a b"; there a line that starts with "#version" is a comment.
std::vector<std::pair<std::string, std::string>> ParseMerges(const JsonNode& node) {
  std::vector<std::pair<std::string, std::string>> merges;
  if (!node.is_array()) {
    node.Fail("expected an array");
    return merges;
  }
  merges.reserve(node.value().size());
  for (size_t i = 0; i < node.value().size(); ++i) {
    const json& entry = node.value()[i];
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
      continue;
    }
    const std::string line = entry.is_string() ? entry.get<std::string>() : "";
    if (absl::StartsWith(line, "#version")) continue;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      node.At(i).Fail("expected two tokens");
      return merges;
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

void RefuseUnless(bool supported, const JsonNode& node) {
  if (!supported) node.FailUnimplemented("a value other than null is not supported");
}

// A unigram vocabulary is an array of [token, score]; the place is the id.
void ParseUnigram(const JsonNode& node, TokenizerParts* parts) {
  UnigramOptions options;
  const JsonNode vocab = node.At("vocab");
  std::vector<std::pair<std::string, int32_t>> tokens;
  if (!vocab.is_array()) return vocab.Fail("expected an array");
  if (vocab.value().size() > static_cast<size_t>(kTokenIdMax)) return vocab.Fail("too many tokens");
  for (const json& entry : vocab.value()) {
    const size_t id = tokens.size();
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return vocab.At(id).Fail("expected a token and its score");
    }
    tokens.emplace_back(entry[0].get<std::string>(), static_cast<int32_t>(id));
    options.scores.push_back(entry[1].get<double>());
  }
  options.kinds.assign(tokens.size(), PieceKind::kNormal);
  options.byte_fallback = node.At("byte_fallback").BoolOr(false);
  const JsonNode unk_id = node.At("unk_id");
  if (!unk_id.is_null()) options.unk_id = static_cast<int32_t>(unk_id.Int(0, kTokenIdMax));
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Build(std::move(tokens));
  if (!vocabulary.ok()) return vocab.Fail(vocabulary.status());
  if (!node.ok()) return;
  parts->vocabulary = std::make_unique<const Vocabulary>(*std::move(vocabulary));
  absl::StatusOr<std::unique_ptr<const TokenModel>> model =
      UnigramModel::Create(parts->vocabulary.get(), std::move(options));
  if (!model.ok()) return node.Fail(model.status());
  parts->model = *std::move(model);
}

// Other alphabets than ASCII are unseen, and the reference's own counting of their bytes has changed.
std::string ParseAffix(const JsonNode& node) {
  if (node.is_null()) return "";
  std::string affix = node.String();
  if (!std::all_of(affix.begin(), affix.end(),
                   [](char c) { return absl::ascii_isascii(static_cast<unsigned char>(c)); })) {
    node.FailUnimplemented("an affix that is not ASCII is not supported");
  }
  return affix;
}

// The whole piece is a token or unknown.
void ParseWordLevel(const JsonNode& node, TokenizerParts* parts) {
  const JsonNode unk = node.At("unk_token");
  const std::string unk_token = unk.is_null() ? "<unk>" : unk.String();
  parts->vocabulary = ParseVocabulary(node.At("vocab"));
  if (node.ok()) parts->model = std::make_unique<WordLevelModel>(parts->vocabulary.get(), unk_token);
}

constexpr int64_t kWordPieceCharsMax = 1 << 16;

void ParseWordPiece(const JsonNode& node, TokenizerParts* parts) {
  WordPieceOptions options;
  if (!node.At("unk_token").is_null()) options.unk_token = node.At("unk_token").String();
  const JsonNode prefix = node.At("continuing_subword_prefix");
  if (!prefix.is_null()) options.continuing_prefix = prefix.String();
  const JsonNode longest = node.At("max_input_chars_per_word");
  if (!longest.is_null()) options.max_input_chars = longest.Int(0, kWordPieceCharsMax);
  parts->vocabulary = ParseVocabulary(node.At("vocab"));
  if (node.ok()) parts->model = std::make_unique<WordPieceModel>(parts->vocabulary.get(), options);
}

// Fills vocabulary, model and pieces_are_bytes.
void ParseModel(const JsonNode& node, bool ends_in_byte_level, TokenizerParts* parts) {
  const JsonNode type = node.At("type");
  const std::string name = type.is_null() ? "BPE" : type.String();
  if (name == "Unigram") return ParseUnigram(node, parts);
  if (name == "WordLevel") return ParseWordLevel(node, parts);
  if (name == "WordPiece") return ParseWordPiece(node, parts);
  if (name != "BPE") type.FailUnimplemented(absl::StrCat("model of type '", name, "' is not supported"));
  if (!node.ok()) return;
  const JsonNode dropout = node.At("dropout");
  RefuseUnless(dropout.is_null() || (dropout.value().is_number() && dropout.value().get<double>() == 0), dropout);

  BpeOptions options;
  options.continuing_prefix = ParseAffix(node.At("continuing_subword_prefix"));
  options.end_suffix = ParseAffix(node.At("end_of_word_suffix"));
  options.byte_level = ends_in_byte_level && options.continuing_prefix.empty() && options.end_suffix.empty();
  options.fuse_unk = node.At("fuse_unk").BoolOr(false);
  options.byte_fallback = node.At("byte_fallback").BoolOr(false);
  options.ignore_merges = node.At("ignore_merges").BoolOr(false);
  if (!node.At("unk_token").is_null()) options.unk_token = node.At("unk_token").String();
  parts->vocabulary = ParseVocabulary(node.At("vocab"));
  options.merges = ParseMerges(node.At("merges"));
  if (!node.ok()) return;
  absl::StatusOr<std::unique_ptr<const TokenModel>> model = BpeModel::Create(parts->vocabulary.get(), options);
  if (!model.ok()) return node.Fail(model.status());
  parts->model = *std::move(model);
  parts->pieces_are_bytes = parts->model->encodes_bytes();
}

std::vector<AddedToken> ParseAddedTokens(const JsonNode& node) {
  std::vector<AddedToken> tokens;
  if (node.is_null()) return tokens;
  for (size_t i = 0, size = node.ArraySize(); i < size && node.ok(); ++i) {
    const JsonNode item = node.At(i);
    AddedToken token;
    token.id = static_cast<int32_t>(item.At("id").Int(0, kTokenIdMax));
    token.content = item.At("content").String();
    token.single_word = item.At("single_word").BoolOr(false);
    token.lstrip = item.At("lstrip").BoolOr(false);
    token.rstrip = item.At("rstrip").BoolOr(false);
    token.special = item.At("special").BoolOr(false);
    token.normalized = item.At("normalized").BoolOr(!token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Joins the two files' added tokens (later ones override those of the same content) and settles every id.
class AddedTokenList {
 public:
  explicit AddedTokenList(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  void Add(AddedToken token, const JsonNode& node) {
    if (token.content.empty()) return;  // nothing to find in a text: the reference drops it too
    if (const absl::optional<int32_t> id = vocabulary_.Find(token.content); id.has_value()) {
      LOG_IF(WARNING, *id != token.id) << "added token '" << token.content << "' is said to have id " << token.id
                                       << " and has id " << *id << " in the vocabulary, which counts";
      token.id = *id;
    }
    const auto same = std::find_if(tokens_.begin(), tokens_.end(),
                                   [&](const AddedToken& other) { return other.content == token.content; });
    if (same != tokens_.end()) token.id = same->id;
    const absl::optional<std::string> owner = Owner(token.id);
    if (owner.has_value() && *owner != token.content) {
      return node.Fail(
          absl::StrCat("token '", token.content, "' has id ", token.id, ", which belongs to '", *owner, "'"));
    }
    if (same != tokens_.end()) {
      *same = std::move(token);
    } else {
      owners_[token.id] = token.content;
      tokens_.push_back(std::move(token));
    }
  }

  // Makes a token of the vocabulary special unless it is an added token already.
  void AddSpecial(const std::string& content) {
    const absl::optional<int32_t> id = vocabulary_.Find(content);
    if (!id.has_value() || content.empty() || owners_.contains(*id)) return;
    AddedToken token;
    token.id = *id;
    token.content = content;
    token.special = true;
    owners_[*id] = content;
    tokens_.push_back(std::move(token));
  }

  std::vector<AddedToken> Take() { return std::move(tokens_); }

 private:
  absl::optional<std::string> Owner(int32_t id) const {
    if (vocabulary_.Contains(id)) return vocabulary_.Text(id);
    const auto it = owners_.find(id);
    return it == owners_.end() ? absl::nullopt : absl::optional<std::string>(it->second);
  }

  const Vocabulary& vocabulary_;
  std::vector<AddedToken> tokens_;
  absl::flat_hash_map<int32_t, std::string> owners_;  // of the ids of added tokens
};

absl::optional<int32_t> FindToken(const TokenizerParts& parts, const std::string& content) {
  for (const AddedToken& token : parts.added_tokens) {
    if (token.content == content) return token.id;
  }
  return parts.vocabulary->Find(content);
}

// For these classes the flags of tokenizer_config.json decide about the special tokens around a text, whatever the
// post-processor says. Source: TF tokenization_llama_fast.py update_post_processor.
bool FlagsBeatPostProcessor(const TokenizerConfig& config) {
  if (!config.add_bos_token.has_value() && !config.add_eos_token.has_value()) return false;
  for (absl::string_view name : {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"}) {
    if (absl::StartsWith(config.tokenizer_class, name)) return true;
  }
  return absl::StartsWith(config.tokenizer_class, "GPT2Tokenizer") && config.add_bos_token.value_or(false);
}

void ApplyBosEosFlags(const TokenizerConfig& config, const JsonNode& root, TokenizerParts* parts) {
  const auto add = [&](const absl::optional<std::string>& token, absl::string_view key, std::vector<int32_t>* ids) {
    const absl::optional<int32_t> id = token.has_value() ? FindToken(*parts, *token) : absl::nullopt;
    if (id.has_value()) return ids->push_back(*id);
    root.Fail(absl::StrCat("tokenizer_config.json asks for the ", key, " '", token.value_or(""),
                           "' around every text, and there is no such token"));
  };
  parts->special_tokens = SpecialTokenTemplate();
  const bool is_gpt2 = absl::StartsWith(config.tokenizer_class, "GPT2");
  if (config.add_bos_token.value_or(!is_gpt2)) add(config.bos_token, "bos_token", &parts->special_tokens.before);
  if (config.add_eos_token.value_or(false)) add(config.eos_token, "eos_token", &parts->special_tokens.after);
}

// Joins the tokens that a tokenizer file adds with what the side files say.
void AddTokens(std::vector<AddedToken> own, const TokenizerConfig& config, const JsonNode& root, const JsonNode& added,
               TokenizerParts* parts) {
  AddedTokenList list(*parts->vocabulary);
  for (AddedToken& token : own) list.Add(std::move(token), added);
  for (const AddedToken& token : config.added_tokens) list.Add(token, added);
  for (const std::string& content : config.special_contents) list.AddSpecial(content);
  parts->added_tokens = list.Take();
  if (root.ok() && FlagsBeatPostProcessor(config)) ApplyBosEosFlags(config, root, parts);
}

}  // namespace

absl::Status ApplyTokenizerConfig(const std::string& path, const TokenizerConfig& config, TokenizerParts* parts) {
  const json nothing = json::object();
  absl::Status status;
  const JsonNode root(&nothing, path, &status);
  AddTokens({}, config, root, root.At("added_tokens"), parts);
  return status;
}

TokenizerParts ParseTokenizer(const JsonNode& root, const TokenizerConfig& config) {
  TokenizerParts parts;
  const JsonNode version = root.At("version");
  if (!version.is_null() && version.String() != "1.0") version.FailUnimplemented("a version other than '1.0'");
  const JsonNode pre_tokenizer = root.At("pre_tokenizer");
  ParseModel(root.At("model"), EndsInByteLevel(pre_tokenizer), &parts);
  parts.normalizer = ParseNormalizer(root.At("normalizer"));
  parts.pre_tokenizers = ParsePreTokenizers(pre_tokenizer, {parts.pieces_are_bytes, config.add_prefix_space});
  ParseDecoder(root.At("decoder"), &parts);
  parts.special_tokens = ParsePostProcessor(root.At("post_processor"));
  if (!root.ok()) return parts;

  const JsonNode added = root.At("added_tokens");
  AddTokens(ParseAddedTokens(added), config, root, added, &parts);
  return parts;
}

}  // namespace quire::text
