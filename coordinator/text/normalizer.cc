#include "coordinator/text/normalizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
#include "coordinator/text/byte_map.h"
#include "coordinator/text/utf8.h"

namespace quire::text {
namespace {

class SequenceNormalizer final : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<NormalizerPtr> parts) : parts_(std::move(parts)) {}
  absl::Status Apply(std::string* text) const override {
    for (const NormalizerPtr& part : parts_) {
      if (absl::Status status = part->Apply(text); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<NormalizerPtr> parts_;
};

class PrependNormalizer final : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  absl::Status Apply(std::string* text) const override {
    if (!text->empty()) text->insert(0, prefix_);
    return absl::OkStatus();
  }

 private:
  const std::string prefix_;
};

class ReplaceNormalizer final : public Normalizer {
 public:
  ReplaceNormalizer(LiteralOrRegex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  absl::Status Apply(std::string* text) const override {
    std::string replaced;
    replaced.reserve(text->size());
    if (absl::Status status = pattern_.Replace(*text, content_, &replaced); !status.ok()) return status;
    text->swap(replaced);
    return absl::OkStatus();
  }

 private:
  const LiteralOrRegex pattern_;
  const std::string content_;
};

class FormNormalizer final : public Normalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}
  absl::Status Apply(std::string* text) const override {
    *text = Normalize(*text, form_);
    return absl::OkStatus();
  }

 private:
  const NormalForm form_;
};

class CharNormalizer final : public Normalizer {
 public:
  explicit CharNormalizer(CharRewrite rewrite) : rewrite_(rewrite) {}
  absl::Status Apply(std::string* text) const override {
    std::string out;
    out.reserve(text->size());
    for (size_t pos = 0; pos < text->size();) rewrite_(NextChar(*text, &pos), &out);
    text->swap(out);
    return absl::OkStatus();
  }

 private:
  const CharRewrite rewrite_;
};

class StripNormalizer final : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  absl::Status Apply(std::string* text) const override {
    size_t begin = text->size();  // start of the first character that is not whitespace
    size_t end = 0;               // behind the last one
    for (size_t pos = 0; pos < text->size();) {
      const size_t start = pos;
      if (IsWhitespace(NextChar(*text, &pos))) continue;
      begin = std::min(begin, start);
      end = pos;
    }
    if (right_) text->erase(end);
    if (left_) text->erase(0, std::min(begin, text->size()));
    return absl::OkStatus();
  }

 private:
  const bool left_;
  const bool right_;
};

}  // namespace

void RewriteNmt(char32_t c, std::string* out) {
  const bool is_space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                        (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                        c == 0xFFFD;
  if (is_space) return out->push_back(' ');
  const bool is_control = (c >= 0x01 && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  if (!is_control) AppendChar(c, out);
}

void RewriteAsMappedBytes(char32_t c, std::string* out) {
  std::string bytes;
  AppendChar(c, &bytes);
  AppendMapped(bytes, out);
}

NormalizerPtr MakeCharNormalizer(CharRewrite rewrite) { return std::make_unique<CharNormalizer>(rewrite); }
NormalizerPtr MakeSequenceNormalizer(std::vector<NormalizerPtr> parts) {
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}
NormalizerPtr MakePrependNormalizer(std::string prefix) {
  return std::make_unique<PrependNormalizer>(std::move(prefix));
}
NormalizerPtr MakeReplaceNormalizer(LiteralOrRegex pattern, std::string content) {
  return std::make_unique<ReplaceNormalizer>(std::move(pattern), std::move(content));
}
NormalizerPtr MakeFormNormalizer(NormalForm form) { return std::make_unique<FormNormalizer>(form); }
NormalizerPtr MakeStripNormalizer(bool left, bool right) { return std::make_unique<StripNormalizer>(left, right); }

}  // namespace quire::text
