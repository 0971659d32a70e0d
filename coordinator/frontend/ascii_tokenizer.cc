#include "coordinator/frontend/ascii_tokenizer.h"

#include <glog/logging.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/text/tokenizer.h"

namespace quire::frontend {

std::shared_ptr<const text::Tokenizer> AsciiTokenizer(const std::string& scratch_dir) {
  const std::string dir = absl::StrCat(scratch_dir, "/tokenizer_", getpid());
  std::filesystem::create_directories(dir);
  std::string vocab;
  for (int c = 33; c < 127; ++c) {
    const std::string key = c == '"' || c == '\\' ? absl::StrCat("\\", std::string(1, static_cast<char>(c)))
                                                  : std::string(1, static_cast<char>(c));
    absl::StrAppend(&vocab, "\"", key, "\": ", c - 31, ", ");
  }
  std::ofstream(absl::StrCat(dir, "/tokenizer.json"))
      << R"({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
             "post_processor": null,
             "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
             "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
             "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": {)"
      << vocab << "\"\u0120\": 1"
      << R"(}, "merges": []}})";
  absl::StatusOr<std::unique_ptr<const text::Tokenizer>> tokenizer = text::Tokenizer::Load(dir);
  CHECK(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

}  // namespace quire::frontend
