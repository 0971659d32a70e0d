// See validate_beams.h.
#include "coordinator/frontend/validate_beams.h"

#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "coordinator/frontend/field_error.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return FieldError(absl::StatusCode::kInvalidArgument, absl::StrCat("sampling_params.", field), what);
}

// Fields that mean nothing, or something else, without a beam search.
absl::Status CheckAbsent(const v1::SamplingParams& in) {
  constexpr char kWhy[] = "is for beam search only; set use_beam_search or leave it unset.";
  if (in.has_beam_width()) return Invalid("beam_width", kWhy);
  if (in.has_length_penalty()) return Invalid("length_penalty", kWhy);
  if (in.has_early_stopping()) return Invalid("early_stopping", kWhy);
  return absl::OkStatus();
}

// Sampling parameters that a beam search would ignore: better refused than silently without effect.
absl::Status CheckNoSampling(const v1::SamplingParams& in) {
  constexpr char kWhy[] = "has no meaning in a beam search; leave it unset.";
  if (in.has_temperature() && in.temperature() != 0 && in.temperature() != 1) return Invalid("temperature", kWhy);
  if (in.has_top_p() && in.top_p() != 1) return Invalid("top_p", kWhy);
  if (in.has_top_k() && in.top_k() != 0) return Invalid("top_k", kWhy);
  if (in.has_min_p() && in.min_p() != 0) return Invalid("min_p", kWhy);
  if (in.has_seed()) return Invalid("seed", kWhy);
  constexpr char kNotYet[] = "cannot go with use_beam_search; leave it unset.";
  if (in.has_frequency_penalty() && in.frequency_penalty() != 0) return Invalid("frequency_penalty", kNotYet);
  if (in.has_presence_penalty() && in.presence_penalty() != 0) return Invalid("presence_penalty", kNotYet);
  if (in.has_repetition_penalty() && in.repetition_penalty() != 1) return Invalid("repetition_penalty", kNotYet);
  if (in.has_best_of() && in.best_of() != (in.has_n() ? in.n() : 1)) return Invalid("best_of", kNotYet);
  if (!in.logit_bias().empty()) return Invalid("logit_bias", kNotYet);
  if (!in.bad_words().empty()) return Invalid("bad_words", kNotYet);
  if (!in.allowed_token_ids().empty()) return Invalid("allowed_token_ids", kNotYet);
  return absl::OkStatus();
}

absl::Status ReadEarlyStopping(const std::string& value, request::EarlyStopping* out) {
  if (value == "false") {
    *out = request::EarlyStopping::kFalse;
  } else if (value == "true") {
    *out = request::EarlyStopping::kTrue;
  } else if (value == "never") {
    *out = request::EarlyStopping::kNever;
  } else {
    return Invalid("early_stopping", "must be 'true', 'false' or 'never'.");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadBeams(const v1::SamplingParams& in, int64_t max_num_seqs, request::SamplingParams* out) {
  if (!in.use_beam_search()) return CheckAbsent(in);
  if (absl::Status s = CheckNoSampling(in); !s.ok()) return s;
  const uint32_t width = in.has_beam_width() ? in.beam_width() : out->n;
  if (width < 1 || width > kBeamWidthMax) {
    return Invalid("beam_width", absl::StrCat("must be in [1, ", kBeamWidthMax, "], got ", width, "."));
  }
  if (width > max_num_seqs) {
    return Invalid("beam_width", absl::StrCat("must be at most max_num_seqs = ", max_num_seqs, ", got ", width, "."));
  }
  if (out->n > width) {
    return Invalid("n", absl::StrCat("must be at most beam_width = ", width, ", got ", out->n, "."));
  }
  const float penalty = in.has_length_penalty() ? in.length_penalty() : 1.0f;
  if (!(std::abs(penalty) <= kLengthPenaltyMax)) {
    return Invalid("length_penalty",
                   absl::StrCat("must be in [", -kLengthPenaltyMax, ", ", kLengthPenaltyMax, "], got ", penalty, "."));
  }
  if (in.has_early_stopping()) {
    if (absl::Status s = ReadEarlyStopping(in.early_stopping(), &out->early_stopping); !s.ok()) return s;
  }
  out->beam_width = width;
  out->length_penalty = penalty;
  out->temperature = 0;
  out->top_p = 1;
  out->top_k = 0;
  out->min_p = 0;
  out->repetition_penalty = 1;
  return absl::OkStatus();
}

}  // namespace quire::frontend
