#include "coordinator/text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "coordinator/text/precompiled_normalizer.h"
#include "coordinator/text/sentencepiece_bpe.h"
#include "coordinator/text/sentencepiece_decode.h"
#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/tokenizer_json.h"
#include "coordinator/text/unigram_model.h"

namespace quire::text {
namespace {

constexpr char kSpaceSymbol[] = "\xE2\x96\x81";

absl::StatusOr<std::unique_ptr<const TokenModel>> MakeModel(const SentencePieceFile& file,
                                                            const Vocabulary* vocabulary) {
  std::vector<double> scores;
  std::vector<PieceKind> kinds;
  for (const SentencePiece& piece : file.pieces) {
    scores.push_back(piece.score);
    kinds.push_back(piece.type == SentencePiece::kNormal        ? PieceKind::kNormal
                    : piece.type == SentencePiece::kUserDefined ? PieceKind::kUserDefined
                                                                : PieceKind::kNotInText);
  }
  if (file.is_bpe) {
    const SentencePieceBpeOptions options = {std::move(scores), std::move(kinds), file.unk_id, file.byte_fallback};
    return std::unique_ptr<const TokenModel>(std::make_unique<SentencePieceBpe>(vocabulary, options));
  }
  return UnigramModel::Create(
      vocabulary, {UnigramRules::kSentencePiece, std::move(scores), std::move(kinds), file.unk_id, file.byte_fallback});
}

// Tokens that ChatGLM2 and 3 keep in code, behind the pieces; ChatGLM3 has those of roles too.
constexpr std::array<const char*, 5> kGlmTokens = {"[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"};
constexpr std::array<const char*, 4> kGlmRoles = {"<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"};

// Nothing but a name tells the generations apart, where tokenizer_config.json lists no tokens of roles.
bool HasGlmRoles(const std::string& path, const TokenizerConfig& config) {
  const std::vector<absl::string_view> parts = absl::StrSplit(path, '/');
  const absl::string_view folder = parts.size() > 1 ? parts[parts.size() - 2] : "";
  const std::string names = absl::AsciiStrToLower(absl::StrCat(config.name_or_path, " ", folder));
  return absl::StrContains(names, "chatglm3") ||
         std::any_of(config.added_tokens.begin(), config.added_tokens.end(), [](const AddedToken& token) {
           return std::find(kGlmRoles.begin(), kGlmRoles.end(), token.content) != kGlmRoles.end();
         });
}

// Appends them as control pieces, which are not found in a text. Those of roles are, as a conversation's prompt is a
// text here.
void AddGlmTokens(const std::string& path, SentencePieceFile* file, TokenizerConfig* config) {
  const auto append = [file](const std::string& name) {
    const bool is_taken = std::any_of(file->pieces.begin(), file->pieces.end(),
                                      [&](const SentencePiece& piece) { return piece.text == name; });
    SentencePiece piece;
    piece.text = is_taken ? absl::StrCat("<", name, ">") : name;  // "sop" is a part of words, too
    piece.type = SentencePiece::kControl;
    file->pieces.push_back(std::move(piece));
  };
  const bool has_roles = HasGlmRoles(path, *config);
  for (const char* name : kGlmTokens) append(name);
  for (const char* name : kGlmRoles) {
    if (!has_roles) break;
    append(name);
    AddedToken token;
    token.content = name;
    token.id = static_cast<int32_t>(file->pieces.size()) - 1;
    token.special = true;
    config->added_tokens.push_back(std::move(token));
  }
  config->add_bos_token = false;
}

void FillConfig(const SentencePieceFile& file, TokenizerConfig* config) {
  const auto piece = [&file](int32_t id) -> absl::optional<std::string> {
    if (id < 0 || static_cast<size_t>(id) >= file.pieces.size()) return absl::nullopt;
    return file.pieces[id].text;
  };
  if (!config->bos_token.has_value()) config->bos_token = piece(file.bos_id);
  if (!config->eos_token.has_value()) config->eos_token = piece(file.eos_id);
  if (!config->add_bos_token.has_value()) config->add_bos_token = config->bos_token.has_value();
  // The classes of such files look for added tokens in the text as it is.
  for (AddedToken& token : config->added_tokens) token.normalized = false;
  config->tokenizer_class = "LlamaTokenizer";  // the rules about bos and eos are its rules
}

absl::StatusOr<TokenizerParts> MakeParts(SentencePieceFile file) {
  TokenizerParts parts;
  std::vector<std::pair<std::string, int32_t>> tokens;
  SentencePieceNormalizerOptions rules = {file.add_dummy_prefix, file.remove_extra_whitespaces, {}};
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const SentencePiece& piece = file.pieces[i];
    const auto id = static_cast<int32_t>(i);
    tokens.emplace_back(piece.text, id);
    if (piece.type == SentencePiece::kUserDefined) rules.user_defined.push_back(piece.text);
    if (piece.type == SentencePiece::kControl || piece.type == SentencePiece::kUnknown) {
      parts.special_ids.push_back(id);
    }
  }
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Build(std::move(tokens));
  if (!vocabulary.ok()) return absl::InvalidArgumentError(absl::StrCat("pieces: ", vocabulary.status().message()));
  parts.vocabulary = std::make_unique<const Vocabulary>(*std::move(vocabulary));
  absl::StatusOr<Charsmap> map = Charsmap::Parse(file.charsmap);
  if (!map.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("normalizer_spec.precompiled_charsmap: ", map.status().message()));
  }
  parts.normalizer = MakeSentencePieceNormalizer(*std::move(map), rules);
  absl::StatusOr<std::unique_ptr<const TokenModel>> model = MakeModel(file, parts.vocabulary.get());
  if (!model.ok()) return model.status();
  parts.model = *std::move(model);
  parts.decode_stages.push_back(MakeDecodeReplaceStage(LiteralOrRegex::Literal(kSpaceSymbol), " ", /*fused=*/false));
  parts.decode_stages.push_back(
      MakeSentencePieceDecodeStage({file.add_dummy_prefix, file.remove_extra_whitespaces, file.byte_fallback}));
  parts.decodes_byte_fallback = file.byte_fallback;
  return parts;
}

}  // namespace

absl::StatusOr<TokenizerParts> MakeSentencePieceTokenizer(const std::string& path, absl::string_view bytes,
                                                          TokenizerConfig* config) {
  const auto in_file = [&path](const absl::Status& status) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  };
  const bool is_glm = config->tokenizer_class == "ChatGLMTokenizer";
  if (absl::StartsWith(config->tokenizer_class, "ChatGLM") && !is_glm) {
    return absl::UnimplementedError(absl::StrCat(path, ": tokenizer_class '", config->tokenizer_class,
                                                 "' keeps its special tokens in code and is not supported"));
  }
  absl::StatusOr<SentencePieceFile> file = ParseSentencePieceFile(bytes);
  if (!file.ok()) return in_file(file.status());
  const auto num_pieces = static_cast<int32_t>(file->pieces.size());
  if (is_glm) AddGlmTokens(path, &*file, config);
  FillConfig(*file, config);
  absl::StatusOr<TokenizerParts> parts = MakeParts(*std::move(file));
  if (!parts.ok()) return in_file(parts.status());
  if (absl::Status status = ApplyTokenizerConfig(path, *config, &*parts); !status.ok()) return status;
  if (is_glm) parts->special_tokens = {{num_pieces + 1, num_pieces + 3}, {}};  // [gMASK] sop
  return parts;
}

}  // namespace quire::text
