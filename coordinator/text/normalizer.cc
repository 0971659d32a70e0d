#include "coordinator/text/normalizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/string_view.h"
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
