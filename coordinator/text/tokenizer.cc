#include "coordinator/text/tokenizer.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/text/added_tokens.h"
#include "coordinator/text/decode_pipeline.h"
#include "coordinator/text/incremental_decoder.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_files.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"

namespace quire::text {

struct Tokenizer::Impl {
  struct Token {
    std::string text;    // as the vocabulary or the added token spells it
    std::string mapped;  // after the per-token decoders
    bool present = false;
    bool special = false;
    bool added = false;
  };

  explicit Impl(TokenizerParts from) : parts(std::move(from)), pipeline(std::move(parts.decode_stages)) {}

  absl::Status BuildTokens(bool split_special);

  TokenizerParts parts;
  DecodePipeline pipeline;
  AddedTokens added;
  std::vector<Token> tokens;  // by id
  absl::flat_hash_map<std::string, int32_t> added_ids;
  absl::optional<int32_t> bos_id;
  absl::optional<int32_t> eos_id;
};

absl::Status Tokenizer::Impl::BuildTokens(bool split_special) {
  if (absl::Status status = added.Build(std::move(parts.added_tokens), parts.normalizer.get(), split_special);
      !status.ok()) {
    return status;
  }
  int32_t end_id = parts.vocabulary->end_id();
  for (const AddedToken& token : added.tokens()) end_id = std::max(end_id, token.id + 1);
  const auto num_added = static_cast<int64_t>(added.tokens().size());  // some are of the vocabulary too
  absl::Status holes = CheckTokenIdHoles(end_id, parts.vocabulary->num_tokens() + num_added);
  if (!holes.ok()) return absl::Status(holes.code(), absl::StrCat("added_tokens: ", holes.message()));
  tokens.resize(end_id);
  for (int32_t id = 0; id < parts.vocabulary->end_id(); ++id) {
    if (!parts.vocabulary->Contains(id)) continue;
    const std::string& text = parts.vocabulary->Text(id);
    tokens[id] = {text, pipeline.MapToken(text), true, false, false};
  }
  for (int32_t id : parts.special_ids) tokens[id].special = true;
  for (size_t i = 0; i < added.tokens().size(); ++i) {
    const AddedToken& token = added.tokens()[i];
    // A normalised token decodes from its normalised form, so that the decoder can undo the normaliser.
    tokens[token.id] = {token.content, pipeline.MapToken(added.NormalizedForm(i)), true, token.special, true};
    added_ids[token.content] = token.id;
  }
  for (const auto* ids : {&parts.special_tokens.before, &parts.special_tokens.after}) {
    for (int32_t id : *ids) {
      if (id < end_id && tokens[id].present) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("post_processor: there is no token with id ", id, " (ids end at ", end_id, ")"));
    }
  }
  return absl::OkStatus();
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

absl::StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::string& model_dir) {
  absl::StatusOr<TokenizerConfig> config = ReadTokenizerConfig(model_dir);
  if (!config.ok()) return config.status();
  std::string path;
  absl::StatusOr<TokenizerParts> parts = ReadTokenizerParts(model_dir, &*config, &path);
  if (!parts.ok()) return parts.status();

  auto impl = std::make_unique<Impl>(*std::move(parts));
  if (absl::Status status = impl->BuildTokens(config->split_special_tokens); !status.ok()) {
    return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
  }
  const auto find = [&](const absl::optional<std::string>& token) -> absl::optional<int32_t> {
    if (!token.has_value()) return absl::nullopt;
    const auto it = impl->added_ids.find(*token);
    return it != impl->added_ids.end() ? it->second : impl->parts.vocabulary->Find(*token);
  };
  impl->bos_id = find(config->bos_token);
  impl->eos_id = find(config->eos_token);
  return std::unique_ptr<const Tokenizer>(new Tokenizer(std::move(impl)));
}

absl::Status Tokenizer::Encode(absl::string_view text, bool add_special_tokens, std::vector<int32_t>* ids) const {
  if (const size_t offset = FindInvalidUtf8(text); offset != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("invalid UTF-8 at byte ", offset, " of ", text.size()));
  }
  const TokenizerParts& parts = impl_->parts;
  const auto encode_piece = [&](const Piece& piece) {
    if (!parts.pieces_are_bytes) return parts.model->EncodePiece(piece.text, ids);
    parts.model->EncodeBytes(piece.text, ids);
    return absl::OkStatus();
  };
  const auto append = [ids](const std::vector<int32_t>& more) { ids->insert(ids->end(), more.begin(), more.end()); };
  if (add_special_tokens) append(parts.special_tokens.before);
  const absl::Status status = impl_->added.Extract(
      text, parts.normalizer.get(), [&](int32_t id) { ids->push_back(id); },
      [&](const Piece& piece) { return SplitThrough(parts.pre_tokenizers, piece, encode_piece); });
  if (!status.ok()) return status;
  if (add_special_tokens) append(parts.special_tokens.after);
  return absl::OkStatus();
}

std::string Tokenizer::Decode(absl::Span<const int32_t> ids, bool skip_special_tokens) const {
  IncrementalDecoder decoder(this, {skip_special_tokens, /*at_text_start=*/true});
  std::string text;
  for (int32_t id : ids) decoder.Append(id, &text);
  decoder.Finish(&text);
  return text;
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }
absl::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos_id; }
absl::optional<int32_t> Tokenizer::eos_id() const { return impl_->eos_id; }

bool Tokenizer::Contains(int32_t id) const { return id >= 0 && id < vocab_size() && impl_->tokens[id].present; }
bool Tokenizer::IsSpecial(int32_t id) const { return Contains(id) && impl_->tokens[id].special; }
bool Tokenizer::IsAdded(int32_t id) const { return Contains(id) && impl_->tokens[id].added; }

absl::optional<int32_t> Tokenizer::TokenToId(absl::string_view token) const {
  const auto it = impl_->added_ids.find(token);
  if (it != impl_->added_ids.end()) return it->second;
  return impl_->parts.vocabulary->Find(token);
}

std::string Tokenizer::TokenText(int32_t id) const { return Contains(id) ? impl_->tokens[id].text : ""; }

std::string Tokenizer::TokenBytes(int32_t id) const {
  if (!Contains(id)) return "";
  const std::string& mapped = impl_->tokens[id].mapped;
  if (impl_->parts.decodes_byte_fallback) {
    if (absl::optional<char> byte = ByteFallbackByte(mapped)) return std::string(1, *byte);
  }
  return mapped;
}

absl::string_view Tokenizer::MappedToken(int32_t id) const {
  CHECK(Contains(id)) << "token id " << id << " of " << vocab_size();
  return impl_->tokens[id].mapped;
}

const DecodePipeline& Tokenizer::decode_pipeline() const { return impl_->pipeline; }

}  // namespace quire::text
