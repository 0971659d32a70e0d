#include "coordinator/text/chat/chat_files.h"

#include <dirent.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "coordinator/text/json_node.h"

namespace quire::chat {
namespace {

using text::JsonNode;

constexpr int64_t kTemplateBytesMax = 1 << 20;
constexpr int64_t kConfigBytesMax = 16 << 20;
constexpr size_t kMoreTemplatesMax = 32;
constexpr absl::string_view kSuffix = ".jinja";

// Reads a JSON file that may be missing.
template <typename Read>
absl::Status ReadJson(const std::string& path, const Read& read) {
  const absl::StatusOr<std::unique_ptr<const nlohmann::json>> value = text::ReadJsonFile(path, kConfigBytesMax);
  if (absl::IsNotFound(value.status())) return absl::OkStatus();
  if (!value.ok()) return value.status();
  absl::Status status;
  const JsonNode root(value->get(), path, &status);
  if (!root.is_object()) {
    root.Fail("expected an object");
    return status;
  }
  read(root);
  return status;
}

// Keeps what an earlier file said.
void Add(const std::string& name, std::string text, const std::string& origin, ChatFiles* files) {
  files->templates.emplace(name, TemplateSource{std::move(text), origin});
}

absl::Status ReadTemplateFile(const std::string& path, const std::string& name, ChatFiles* files) {
  absl::StatusOr<std::string> text = text::ReadBoundedFile(path, kTemplateBytesMax);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  Add(name, *std::move(text), path, files);
  return absl::OkStatus();
}

absl::Status ReadMoreTemplates(const std::string& folder, ChatFiles* files) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(folder.c_str()), closedir);
  if (directory == nullptr) return absl::OkStatus();
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory.get())) {
    absl::string_view name = entry->d_name;
    if (!absl::ConsumeSuffix(&name, kSuffix) || name.empty()) continue;
    names.emplace_back(name);
    if (names.size() > kMoreTemplatesMax) {
      return absl::InvalidArgumentError(absl::StrCat(folder, ": more than ", kMoreTemplatesMax, " templates"));
    }
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (absl::Status s = ReadTemplateFile(absl::StrCat(folder, "/", name, kSuffix), name, files); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// "chat_template": the template, or a list of {"name", "template"}.
void ReadTemplateKey(const JsonNode& root, const std::string& path, ChatFiles* files) {
  const JsonNode node = root.At("chat_template");
  if (node.is_null()) return;
  if (node.is_string()) return Add(kDefaultTemplate, node.String(), path, files);
  for (size_t i = 0, size = node.ArraySize(); i < size && node.ok(); ++i) {
    const JsonNode item = node.At(i);
    Add(item.At("name").String(), item.At("template").String(), path, files);
  }
}

// Every key that ends in "_token" and is a token: a string, or an object with its content.
void ReadSpecialTokens(const JsonNode& root, ChatFiles* files) {
  for (const auto& item : root.value().items()) {
    if (!absl::EndsWith(item.key(), "_token")) continue;
    const JsonNode node = root.At(item.key());
    const JsonNode content = node.is_object() ? node.At("content") : node;
    if (content.is_string()) files->special_tokens.emplace(item.key(), content.String());
  }
}

void ReadHints(const JsonNode& root, ChatFiles* files) {
  const JsonNode type = root.At("model_type"), name = root.At("_name_or_path"), size = root.At("vocab_size");
  if (type.is_string()) files->hints.model_type = absl::AsciiStrToLower(type.String());
  if (name.is_string()) absl::StrAppend(&files->hints.name, " ", absl::AsciiStrToLower(name.String()));
  if (!size.is_null() && size.value().is_number_integer()) files->hints.vocab_size = size.Int(0, int64_t{1} << 31);
}

}  // namespace

absl::StatusOr<ChatFiles> ReadChatFiles(const std::string& model_dir) {
  ChatFiles files;
  const absl::string_view trimmed = absl::StripSuffix(model_dir, "/");
  const size_t slash = trimmed.rfind('/');
  files.hints.name = absl::AsciiStrToLower(slash == absl::string_view::npos ? trimmed : trimmed.substr(slash + 1));
  const auto path = [&](absl::string_view name) { return absl::StrCat(model_dir, "/", name); };
  absl::Status status = ReadTemplateFile(path("chat_template.jinja"), kDefaultTemplate, &files);
  if (status.ok()) status = ReadMoreTemplates(path("additional_chat_templates"), &files);
  if (status.ok()) {
    status = ReadJson(path("tokenizer_config.json"), [&](const JsonNode& root) {
      ReadTemplateKey(root, path("tokenizer_config.json"), &files);
      ReadSpecialTokens(root, &files);
    });
  }
  if (status.ok()) {
    status = ReadJson(path("chat_template.json"),
                      [&](const JsonNode& root) { ReadTemplateKey(root, path("chat_template.json"), &files); });
  }
  if (status.ok()) {
    status = ReadJson(path("special_tokens_map.json"), [&](const JsonNode& root) { ReadSpecialTokens(root, &files); });
  }
  if (status.ok()) status = ReadJson(path("config.json"), [&](const JsonNode& root) { ReadHints(root, &files); });
  if (!status.ok()) return status;
  return files;
}

}  // namespace quire::chat
