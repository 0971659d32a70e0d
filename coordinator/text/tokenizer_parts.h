// What a tokenizer is made of once its files are read: the line from files to working components.
#ifndef QUIRE_COORDINATOR_TEXT_TOKENIZER_PARTS_H_
#define QUIRE_COORDINATOR_TEXT_TOKENIZER_PARTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "coordinator/text/added_tokens.h"
#include "coordinator/text/decode_pipeline.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/token_model.h"
#include "coordinator/text/vocabulary.h"

namespace quire::text {

// Special tokens around a text: what TemplateProcessing comes to for a single sequence.
struct SpecialTokenTemplate {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
};

struct TokenizerParts {
  std::unique_ptr<const Vocabulary> vocabulary;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> special_ids;  // of the vocabulary: left out of text, and not looked for in it
  NormalizerPtr normalizer;          // may be null
  std::vector<PreTokenizerPtr> pre_tokenizers;
  std::unique_ptr<const TokenModel> model;
  bool pieces_are_bytes = false;  // the last pre-tokenizer leaves raw bytes, for TokenModel::EncodeBytes
  SpecialTokenTemplate special_tokens;
  std::vector<DecodeStagePtr> decode_stages;
  bool decodes_byte_fallback = false;  // <0xHH> tokens stand for bytes
};

// What tokenizer_config.json and special_tokens_map.json add. Absent keys leave the tokenizer.json's word standing.
struct TokenizerConfig {
  std::vector<AddedToken> added_tokens;       // with ids; override those of the same content
  std::vector<std::string> special_contents;  // tokens that are special wherever the vocabulary has them
  std::string tokenizer_class;
  std::string name_or_path;  // whose tokenizer it once was
  absl::optional<std::string> bos_token;
  absl::optional<std::string> eos_token;
  absl::optional<bool> add_bos_token;
  absl::optional<bool> add_eos_token;
  absl::optional<bool> add_prefix_space;
  bool split_special_tokens = false;  // special tokens that stand in a text are text like any other
};

}  // namespace quire::text

#endif  // QUIRE_COORDINATOR_TEXT_TOKENIZER_PARTS_H_
