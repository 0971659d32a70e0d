// The rank does not trust a plan: a number out of its range would be an endless loop or a wild index in the sampler.
#include "worker/sampling/sampling_params.h"

#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/worker.pb.h"

namespace quire::worker {
namespace {

absl::Status Check(bool ok, const v1::NewSequence& s, const char* field, double value, const char* limit) {
  if (ok) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("sequence ", s.seq(), ": ", field, " = ", value, ", must be ", limit));
}

absl::Status CheckIds(const v1::NewSequence& s, const char* field, const google::protobuf::RepeatedField<uint32_t>& ids,
                      int32_t vocab_size) {
  for (const uint32_t id : ids) {
    if (id >= static_cast<uint32_t>(vocab_size)) {
      return absl::InvalidArgumentError(
          absl::StrCat("sequence ", s.seq(), ": ", field, " has id ", id, ", the vocabulary ", vocab_size));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SamplingParams> ParseSamplingParams(const v1::NewSequence& s, int32_t vocab_size) {
  constexpr uint32_t kMax = std::numeric_limits<int32_t>::max();
  const absl::Status checks[] = {
      Check(std::isfinite(s.temperature()) && s.temperature() >= 0, s, "temperature", s.temperature(), ">= 0"),
      Check(s.top_p() > 0 && s.top_p() <= 1, s, "top_p", s.top_p(), "in (0, 1]"),
      Check(s.min_p() >= 0 && s.min_p() <= 1, s, "min_p", s.min_p(), "in [0, 1]"),
      Check(s.top_k() <= kMax, s, "top_k", s.top_k(), "<= 2147483647"),
      Check(s.min_tokens() <= kMax, s, "min_tokens", s.min_tokens(), "<= 2147483647"),
      Check(std::isfinite(s.repetition_penalty()) && s.repetition_penalty() > 0, s, "repetition_penalty",
            s.repetition_penalty(), "> 0"),
      Check(std::isfinite(s.frequency_penalty()), s, "frequency_penalty", s.frequency_penalty(), "finite"),
      Check(std::isfinite(s.presence_penalty()), s, "presence_penalty", s.presence_penalty(), "finite"),
      Check(s.num_logprobs() >= -1, s, "num_logprobs", s.num_logprobs(), ">= -1"),
      Check(s.logit_bias().ids_size() == s.logit_bias().values_size(), s, "number of logit_bias values",
            s.logit_bias().values_size(), "the number of its ids"),
      Check(!s.has_prompt_rows() || (s.prompt_rows().first() >= 1 && s.prompt_rows().first() <= kMax), s,
            "prompt_rows.first", s.prompt_rows().first(), "1 to 2147483647"),
      Check(s.prompt_rows().num_top() <= static_cast<uint32_t>(vocab_size), s, "prompt_rows.num_top",
            s.prompt_rows().num_top(), "at most the vocabulary"),
      CheckIds(s, "allowed_token_ids", s.allowed_token_ids(), vocab_size),
      CheckIds(s, "logit_bias", s.logit_bias().ids(), vocab_size),
      CheckIds(s, "banned_until_min", s.banned_until_min(), vocab_size),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  for (const v1::TokenIds& word : s.bad_words()) {
    const absl::Status some = Check(word.ids_size() > 0, s, "length of a bad_words entry", word.ids_size(), "> 0");
    if (!some.ok()) return some;
    if (absl::Status known = CheckIds(s, "bad_words", word.ids(), vocab_size); !known.ok()) return known;
  }
  SamplingParams p;
  p.seed = s.seed();
  p.choice = s.choice();
  p.temperature = s.temperature();
  p.top_p = s.top_p();
  p.min_p = s.min_p();
  p.top_k = static_cast<int32_t>(s.top_k());
  p.repetition_penalty = s.repetition_penalty();
  p.frequency_penalty = s.frequency_penalty();
  p.presence_penalty = s.presence_penalty();
  p.min_tokens = static_cast<int32_t>(s.min_tokens());
  p.num_logprobs = s.num_logprobs();
  p.given_tokens = s.given_tokens();
  p.banned_until_min.assign(s.banned_until_min().begin(), s.banned_until_min().end());
  for (int i = 0; i < s.logit_bias().ids_size(); ++i) {
    p.logit_bias.emplace_back(static_cast<int32_t>(s.logit_bias().ids(i)), s.logit_bias().values(i));
  }
  for (const v1::TokenIds& word : s.bad_words()) p.bad_words.emplace_back(word.ids().begin(), word.ids().end());
  p.allowed_token_ids.assign(s.allowed_token_ids().begin(), s.allowed_token_ids().end());
  if (s.has_prompt_rows()) {
    p.prompt_rows =
        PromptRows{static_cast<int32_t>(s.prompt_rows().first()), static_cast<int32_t>(s.prompt_rows().num_top())};
  }
  return p;
}

}  // namespace quire::worker
