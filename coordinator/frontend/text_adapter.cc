#include "coordinator/frontend/text_adapter.h"

#include <utility>

#include "coordinator/text/incremental_decoder.h"
#include "coordinator/text/tokenizer.h"

namespace quire::frontend {
namespace {

// The output continues the prompt, so its first token keeps its leading space.
text::IncrementalDecoderOptions DecoderOptions(const SpecialTokensInText& special) {
  text::IncrementalDecoderOptions options;
  options.skip_special_tokens = special.skip;
  options.spaces_between_special_tokens = special.spaces_between;
  options.at_text_start = false;
  return options;
}

class TextDecoder final : public request::OutputDecoder {
 public:
  TextDecoder(std::shared_ptr<const text::Tokenizer> tokenizer, const SpecialTokensInText& special)
      : tokenizer_(std::move(tokenizer)), decoder_(tokenizer_.get(), DecoderOptions(special)) {}

  std::unique_ptr<request::OutputDecoder> Clone() const override { return std::make_unique<TextDecoder>(*this); }
  void Append(int32_t id, std::string* text) override { decoder_.Append(id, text); }
  void Finish(std::string* text) override { decoder_.Finish(text); }

 private:
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  text::IncrementalDecoder decoder_;
};

}  // namespace

std::function<std::unique_ptr<request::OutputDecoder>()> MakeDecoderFactory(
    std::shared_ptr<const text::Tokenizer> tokenizer, const SpecialTokensInText& special) {
  if (tokenizer == nullptr) return nullptr;
  return [tokenizer = std::move(tokenizer), special] { return std::make_unique<TextDecoder>(tokenizer, special); };
}

std::function<std::string(int32_t)> MakeTokenText(std::shared_ptr<const text::Tokenizer> tokenizer) {
  if (tokenizer == nullptr) return nullptr;
  return [tokenizer = std::move(tokenizer)](int32_t id) {
    text::IncrementalDecoder decoder(tokenizer.get(), DecoderOptions({/*skip=*/false, /*spaces_between=*/true}));
    std::string text;
    decoder.Append(id, &text);
    decoder.Finish(&text);
    return text;
  };
}

}  // namespace quire::frontend
