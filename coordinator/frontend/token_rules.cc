#include "coordinator/frontend/token_rules.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/text/utf8.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

constexpr char kBadWords[] = "sampling_params.bad_words";
constexpr char kAllowed[] = "sampling_params.allowed_token_ids";

absl::Status Invalid(const char* field, const std::string& what) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, what);
}

absl::Status CheckWord(const std::string& word) {
  if (word.size() > kBadWordBytesMax || absl::StripAsciiWhitespace(word).empty()) {
    return Invalid(kBadWords, absl::StrCat("must hold words of 1 to ", kBadWordBytesMax,
                                           " bytes that are not blank, got one of ", word.size(), " bytes."));
  }
  if (const size_t at = text::FindInvalidUtf8(word); at != absl::string_view::npos) {
    return Invalid(kBadWords, absl::StrCat("must be valid UTF-8, got a bad byte at ", at, "."));
  }
  return absl::OkStatus();
}

absl::Status AddWord(const std::string& word, int32_t vocab_size, const Encode& encode,
                     std::vector<std::vector<int32_t>>* out) {
  const std::string bare(absl::StripLeadingAsciiWhitespace(word));
  const auto ids_of = [&](const std::string& text) -> absl::StatusOr<std::vector<int32_t>> {
    absl::StatusOr<std::vector<int32_t>> ids = encode(text, /*add_special_tokens=*/false);
    if (!ids.ok()) return WithErrorField(ids.status(), kBadWords);
    const bool known = std::all_of(ids->begin(), ids->end(), [&](int32_t id) { return id >= 0 && id < vocab_size; });
    if (ids->empty() || !known) {
      return Invalid(kBadWords, "must hold words that are tokens of this model.");
    }
    return ids;
  };
  absl::StatusOr<std::vector<int32_t>> plain = ids_of(bare);
  if (!plain.ok()) return plain.status();
  absl::StatusOr<std::vector<int32_t>> spaced = ids_of(absl::StrCat(" ", bare));
  if (!spaced.ok()) return spaced.status();
  // A space of its own before the same tokens says nothing new.
  const bool redundant =
      spaced->size() >= plain->size() && std::equal(plain->rbegin(), plain->rend(), spaced->rbegin());
  out->push_back(*std::move(plain));
  if (!redundant) out->push_back(*std::move(spaced));
  return absl::OkStatus();
}

absl::Status ReadBadWords(const v1::SamplingParams& in, int32_t vocab_size, const Encode& encode,
                          request::SamplingParams* out) {
  if (in.bad_words().empty()) return absl::OkStatus();
  if (static_cast<size_t>(in.bad_words_size()) > kBadWordsMax) {
    return Invalid(kBadWords,
                   absl::StrCat("may hold at most ", kBadWordsMax, " words, got ", in.bad_words_size(), "."));
  }
  if (encode == nullptr) {
    return FieldError(absl::StatusCode::kFailedPrecondition, kBadWords,
                      "cannot be taken: this server has no tokenizer; use logit_bias.");
  }
  for (const std::string& word : in.bad_words()) {
    if (absl::Status s = CheckWord(word); !s.ok()) return s;
    if (absl::Status s = AddWord(word, vocab_size, encode, &out->bad_words); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTokenRules(const v1::SamplingParams& in, int32_t vocab_size, const Encode& encode,
                            request::SamplingParams* out) {
  for (const uint32_t id : in.allowed_token_ids()) {
    if (id >= static_cast<uint32_t>(vocab_size)) {
      return Invalid(kAllowed, absl::StrCat("must be below the vocabulary size ", vocab_size, ", got ", id, "."));
    }
    out->allowed_token_ids.push_back(static_cast<int32_t>(id));
  }
  // Each once, so that the vocabulary bounds them.
  std::vector<int32_t>& ids = out->allowed_token_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ReadBadWords(in, vocab_size, encode, out);
}

}  // namespace quire::frontend
