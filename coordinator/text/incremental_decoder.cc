#include "coordinator/text/incremental_decoder.h"

namespace quire::text {

IncrementalDecoder::IncrementalDecoder(const Tokenizer* tokenizer, const IncrementalDecoderOptions& options)
    : tokenizer_(tokenizer),
      skip_special_tokens_(options.skip_special_tokens),
      state_(tokenizer->decode_pipeline().Start(options.at_text_start)) {}

void IncrementalDecoder::Append(int32_t id, std::string* text) {
  if (!tokenizer_->Contains(id)) return;
  if (skip_special_tokens_ && tokenizer_->IsSpecial(id)) return;
  tokenizer_->decode_pipeline().Push(tokenizer_->MappedToken(id), &state_, text);
}

void IncrementalDecoder::Finish(std::string* text) { tokenizer_->decode_pipeline().Finish(&state_, text); }

}  // namespace quire::text
