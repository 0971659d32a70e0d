#include "coordinator/frontend/validate_constraint.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/text/utf8.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

using grammar::GrammarKind;
using grammar::GrammarSource;
using Source = absl::optional<GrammarSource>;

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return FieldError(absl::StatusCode::kInvalidArgument, absl::StrCat("sampling_params.", field), what);
}

absl::StatusOr<Source> ReadText(GrammarKind kind, const char* field, const std::string& text) {
  if (text.empty() || text.size() > kGrammarBytesMax) {
    return Invalid(field, absl::StrCat("must have 1 to ", kGrammarBytesMax, " bytes, got ", text.size(), "."));
  }
  if (const size_t at = text::FindInvalidUtf8(text); at != absl::string_view::npos) {
    return Invalid(field, absl::StrCat("must be valid UTF-8, got a bad byte at ", at, "."));
  }
  return Source(GrammarSource{kind, text, absl::StrCat("sampling_params.", field)});
}

// As a string of the library's EBNF.
void AppendLiteral(const std::string& text, std::string* out) {
  out->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out->append({'\\', c});
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(out, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

absl::StatusOr<Source> ReadChoice(const v1::Choice& in) {
  if (in.choices().empty() || in.choices_size() > kGrammarChoicesMax) {
    return Invalid("choice.choices",
                   absl::StrCat("must have 1 to ", kGrammarChoicesMax, " choices, got ", in.choices_size(), "."));
  }
  std::string ebnf = "root ::= ";
  for (int i = 0; i < in.choices_size(); ++i) {
    const std::string& choice = in.choices(i);
    if (choice.empty() || choice.size() > kGrammarChoiceBytesMax) {
      return Invalid("choice.choices", absl::StrCat("must hold strings of 1 to ", kGrammarChoiceBytesMax,
                                                    " bytes, got one of ", choice.size(), "."));
    }
    if (i > 0) ebnf += " | ";
    AppendLiteral(choice, &ebnf);
  }
  return ReadText(GrammarKind::kEbnf, "choice.choices", ebnf);
}

absl::StatusOr<Source> ReadSource(const v1::SamplingParams& in) {
  switch (in.constraint_case()) {
    case v1::SamplingParams::kJsonSchema:
      return ReadText(GrammarKind::kJsonSchema, "json_schema", in.json_schema());
    case v1::SamplingParams::kRegex:
      return ReadText(GrammarKind::kRegex, "regex", in.regex());
    case v1::SamplingParams::kGrammar:
      return ReadText(GrammarKind::kEbnf, "grammar", in.grammar());
    case v1::SamplingParams::kStructuralTag:
      return ReadText(GrammarKind::kStructuralTag, "structural_tag", in.structural_tag());
    case v1::SamplingParams::kJsonObject:
      if (!in.json_object()) return Source();
      return Source(GrammarSource{GrammarKind::kJsonObject, "", "sampling_params.json_object"});
    case v1::SamplingParams::kChoice:
      return ReadChoice(in.choice());
    case v1::SamplingParams::CONSTRAINT_NOT_SET:
      break;
  }
  return Source();
}

}  // namespace

absl::StatusOr<Source> ReadConstraint(const v1::SamplingParams& in) {
  absl::StatusOr<Source> source = ReadSource(in);
  if (!source.ok() || !source->has_value()) return source;
  // What could forbid the only token that the grammar allows, or go on where it has ended.
  constexpr char kWhy[] = "cannot go with a constraint on the output; leave it unset.";
  if (in.use_beam_search()) return Invalid("use_beam_search", kWhy);
  if (in.min_tokens() > 0) return Invalid("min_tokens", kWhy);
  if (in.ignore_eos()) return Invalid("ignore_eos", kWhy);
  if (!in.bad_words().empty()) return Invalid("bad_words", kWhy);
  if (!in.allowed_token_ids().empty()) return Invalid("allowed_token_ids", kWhy);
  return source;
}

}  // namespace quire::frontend
