#include "coordinator/text/tokenizer_config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/text/json_node.h"

namespace quire::text {
namespace {

constexpr int64_t kConfigBytesMax = 16 << 20;

// A special token is its content or an object that holds it.
absl::optional<std::string> ParseToken(const JsonNode& node) {
  if (node.is_null()) return absl::nullopt;
  return node.is_object() ? node.At("content").String() : node.String();
}

absl::optional<bool> ParseFlag(const JsonNode& node) {
  if (node.is_null()) return absl::nullopt;
  return node.BoolOr(false);
}

void ParseAddedTokensDecoder(const JsonNode& node, TokenizerConfig* config) {
  if (node.is_null()) return;
  if (!node.is_object()) return node.Fail("expected an object");
  for (const auto& item : node.value().items()) {
    const JsonNode fields = node.At(item.key());
    AddedToken token;
    if (!absl::SimpleAtoi(item.key(), &token.id) || token.id < 0 || token.id > kTokenIdMax) {
      return fields.Fail(absl::StrCat("the key is not a token id from 0 to ", kTokenIdMax));
    }
    token.content = fields.At("content").String();
    token.single_word = fields.At("single_word").BoolOr(false);
    token.lstrip = fields.At("lstrip").BoolOr(false);
    token.rstrip = fields.At("rstrip").BoolOr(false);
    token.special = fields.At("special").BoolOr(false);
    token.normalized = fields.At("normalized").BoolOr(!token.special);
    config->added_tokens.push_back(std::move(token));
  }
}

// The keys that both files share. What an earlier file said stands.
void ParseSpecialTokens(const JsonNode& root, TokenizerConfig* config) {
  if (!config->bos_token.has_value()) config->bos_token = ParseToken(root.At("bos_token"));
  if (!config->eos_token.has_value()) config->eos_token = ParseToken(root.At("eos_token"));
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    if (absl::optional<std::string> token = ParseToken(root.At(key))) config->special_contents.push_back(*token);
  }
  const JsonNode additional = root.At("additional_special_tokens");
  if (additional.is_null()) return;
  for (size_t i = 0, size = additional.ArraySize(); i < size && root.ok(); ++i) {
    if (absl::optional<std::string> token = ParseToken(additional.At(i))) config->special_contents.push_back(*token);
  }
}

void ParseConfig(const JsonNode& root, TokenizerConfig* config) {
  ParseSpecialTokens(root, config);
  ParseAddedTokensDecoder(root.At("added_tokens_decoder"), config);
  if (!root.At("tokenizer_class").is_null()) config->tokenizer_class = root.At("tokenizer_class").String();
  if (root.At("name_or_path").is_string()) config->name_or_path = root.At("name_or_path").String();
  config->add_bos_token = ParseFlag(root.At("add_bos_token"));
  config->add_eos_token = ParseFlag(root.At("add_eos_token"));
  config->add_prefix_space = ParseFlag(root.At("add_prefix_space"));
  config->split_special_tokens = root.At("split_special_tokens").BoolOr(false);
}

void ParseAddedTokensFile(const JsonNode& root, TokenizerConfig* config) {
  if (!root.is_object()) return root.Fail("expected an object");
  for (const auto& item : root.value().items()) {
    AddedToken token;
    token.content = item.key();
    token.id = static_cast<int32_t>(root.At(item.key()).Int(0, kTokenIdMax));
    token.normalized = true;
    const auto is_same = [&](const AddedToken& other) { return other.content == token.content; };
    const auto& special = config->special_contents;
    if (std::find(special.begin(), special.end(), token.content) != special.end()) {
      token.special = true;
      token.normalized = false;
    }
    if (std::none_of(config->added_tokens.begin(), config->added_tokens.end(), is_same)) {
      config->added_tokens.push_back(std::move(token));
    }
  }
}

absl::Status ReadInto(const std::string& path, void (*parse)(const JsonNode&, TokenizerConfig*),
                      TokenizerConfig* config) {
  const absl::StatusOr<std::unique_ptr<const nlohmann::json>> value = ReadJsonFile(path, kConfigBytesMax);
  if (absl::IsNotFound(value.status())) return absl::OkStatus();
  if (!value.ok()) return value.status();
  absl::Status status;
  parse(JsonNode(value->get(), path, &status), config);
  return status;
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const std::string& model_dir) {
  TokenizerConfig config;
  absl::Status status = ReadInto(absl::StrCat(model_dir, "/tokenizer_config.json"), ParseConfig, &config);
  if (!status.ok()) return status;
  status = ReadInto(absl::StrCat(model_dir, "/special_tokens_map.json"), ParseSpecialTokens, &config);
  if (!status.ok()) return status;
  return config;
}

absl::Status ReadAddedTokens(const std::string& model_dir, TokenizerConfig* config) {
  return ReadInto(absl::StrCat(model_dir, "/added_tokens.json"), ParseAddedTokensFile, config);
}

}  // namespace quire::text
