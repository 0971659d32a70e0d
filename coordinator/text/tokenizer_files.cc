#include "coordinator/text/tokenizer_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/text/bpe_files.h"
#include "coordinator/text/json_node.h"
#include "coordinator/text/sentencepiece_tokenizer.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_json.h"

namespace quire::text {
namespace {

constexpr int64_t kTokenizerBytesMax = 128 << 20;

// Entries of a directory that are looked at; a model's has a few hundred.
constexpr int kEntriesMax = 100'000;

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

absl::StatusOr<TokenizerParts> ReadJson(const std::string& path, const TokenizerConfig& config) {
  const absl::StatusOr<std::unique_ptr<const nlohmann::json>> json = ReadJsonFile(path, kTokenizerBytesMax);
  if (!json.ok()) return json.status();
  absl::Status status;
  TokenizerParts parts = ParseTokenizer(JsonNode(json->get(), path, &status), config);
  if (!status.ok()) return status;
  return parts;
}

absl::StatusOr<TokenizerParts> ReadModel(const std::string& path, TokenizerConfig* config) {
  const absl::StatusOr<std::string> bytes = ReadBoundedFile(path, kTokenizerBytesMax);
  if (!bytes.ok()) return bytes.status();
  return LooksLikeTiktoken(*bytes) ? MakeTiktokenTokenizer(path, *bytes, config)
                                   : MakeSentencePieceTokenizer(path, *bytes, config);
}

// The *.tiktoken files of the directory.
std::vector<std::string> FindTiktoken(const std::string& model_dir) {
  std::vector<std::string> found;
  std::error_code error;
  std::filesystem::directory_iterator it(model_dir, error);
  for (int i = 0; !error && it != std::filesystem::directory_iterator() && i < kEntriesMax; ++i, it.increment(error)) {
    if (it->path().extension() == ".tiktoken") found.push_back(it->path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadTokenizerParts(const std::string& model_dir, TokenizerConfig* config,
                                                  std::string* path) {
  *path = absl::StrCat(model_dir, "/tokenizer.json");
  if (Exists(*path)) return ReadJson(*path, *config);
  // Tokenizer.json lists all added tokens; beside the other files they have one of their own.
  if (absl::Status status = ReadAddedTokens(model_dir, config); !status.ok()) return status;
  *path = absl::StrCat(model_dir, "/tokenizer.model");
  if (Exists(*path)) return ReadModel(*path, config);
  *path = absl::StrCat(model_dir, "/vocab.json");
  const std::string merges_path = absl::StrCat(model_dir, "/merges.txt");
  if (Exists(*path) && Exists(merges_path)) {
    const absl::StatusOr<std::string> merges = ReadBoundedFile(merges_path, kTokenizerBytesMax);
    if (!merges.ok()) return merges.status();
    const absl::StatusOr<std::unique_ptr<const nlohmann::json>> vocab = ReadJsonFile(*path, kTokenizerBytesMax);
    if (!vocab.ok()) return vocab.status();
    return MakeVocabMergesTokenizer(*path, **vocab, *merges, *config);
  }
  const std::vector<std::string> tiktoken = FindTiktoken(model_dir);
  if (tiktoken.size() == 1) {
    *path = tiktoken[0];
    return ReadModel(*path, config);
  }
  return absl::NotFoundError(absl::StrCat(model_dir,
                                          ": no tokenizer: looked for tokenizer.json, tokenizer.model, vocab.json with "
                                          "merges.txt, and one *.tiktoken (found ",
                                          tiktoken.size(), " of these)"));
}

}  // namespace quire::text
