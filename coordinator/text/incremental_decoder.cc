#include "coordinator/text/incremental_decoder.h"

#include "absl/strings/match.h"

namespace quire::text {

IncrementalDecoder::IncrementalDecoder(const Tokenizer* tokenizer, const IncrementalDecoderOptions& options)
    : tokenizer_(tokenizer),
      skip_special_tokens_(options.skip_special_tokens),
      spaces_between_special_tokens_(options.spaces_between_special_tokens),
      state_(tokenizer->decode_pipeline().Start(options.at_text_start)) {}

void IncrementalDecoder::Append(int32_t id, std::string* text) {
  if (!tokenizer_->Contains(id)) return;
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return;
  const size_t before = text->size();
  tokenizer_->decode_pipeline().Push(tokenizer_->MappedToken(id), &state_, text);
  if (spaces_between_special_tokens_) return;
  const bool is_added = tokenizer_->IsAdded(id);
  const bool has_space =
      before < text->size() && (*text)[before] == ' ' && !absl::StartsWith(tokenizer_->TokenText(id), " ");
  if (is_added && follows_added_token_ && has_space) text->erase(before, 1);
  follows_added_token_ = is_added;
}

void IncrementalDecoder::Finish(std::string* text) { tokenizer_->decode_pipeline().Finish(&state_, text); }

}  // namespace quire::text
