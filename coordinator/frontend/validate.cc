#include "coordinator/frontend/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/token_rules.h"
#include "coordinator/frontend/validate_beams.h"
#include "coordinator/frontend/validate_chat.h"
#include "coordinator/frontend/validate_constraint.h"
#include "coordinator/text/utf8.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return FieldError(absl::StatusCode::kInvalidArgument, field, what);
}

absl::Status TooLong(absl::string_view field, absl::string_view what) {
  return WithErrorCode(Invalid(field, what), "context_length_exceeded");
}

// The shortest form that reads back as the same float: nobody should read "must be at most 1, got 1".
std::string Show(float value) {
  std::string text = absl::StrFormat("%.6g", value);
  if (std::strtof(text.c_str(), nullptr) != value) text = absl::StrFormat("%.9g", value);
  return text;
}

// Client bytes in a message: escaped and short.
std::string Quote(const std::string& text) {
  constexpr size_t kShown = 64;
  return absl::StrCat("'", absl::CEscape(text.substr(0, kShown)), text.size() > kShown ? "..." : "", "'");
}

bool IsRequestIdChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == ':' || c == '-';
}

std::string MakeUuid() {
  absl::BitGen random;
  const uint64_t high = (absl::Uniform<uint64_t>(random) & 0xFFFFFFFFFFFF0FFFull) | 0x4000;                // version 4
  const uint64_t low = (absl::Uniform<uint64_t>(random) & 0x3FFFFFFFFFFFFFFFull) | 0x8000000000000000ull;  // variant 1
  return absl::StrFormat("%08x-%04x-%04x-%04x-%012x", high >> 32, (high >> 16) & 0xFFFF, high & 0xFFFF, low >> 48,
                         low & 0xFFFFFFFFFFFFull);
}

absl::Status CheckRequestId(const std::string& id) {
  if (id.empty() || id.size() > kRequestIdBytesMax) {
    return Invalid("request_id", absl::StrCat("must have 1 to ", kRequestIdBytesMax, " bytes, got ", id.size(), "."));
  }
  if (!std::all_of(id.begin(), id.end(), IsRequestIdChar)) {
    return Invalid("request_id", absl::StrCat("may hold only [A-Za-z0-9._:-], got ", Quote(id), "."));
  }
  return absl::OkStatus();
}

// Reads the float fields; remembers the first error.
class FloatReader {
 public:
  // The client's value, else the model's, else `*out`. Requires: the default is within [low, high].
  void Read(const char* field, bool given, float value, const std::optional<float>& model_default, float low,
            float high, float* out) {
    Take(field, given, value, model_default, value >= low && value <= high,
         absl::StrCat("must be in [", Show(low), ", ", Show(high), "]"), out);
  }

  void Take(const char* field, bool given, float value, const std::optional<float>& model_default, bool good,
            absl::string_view rule, float* out) {
    if (!given) {
      *out = model_default.value_or(*out);
    } else if (good) {
      *out = value;
    } else if (status_.ok()) {
      status_ = Invalid(absl::StrCat("sampling_params.", field), absl::StrCat(rule, ", got ", Show(value), "."));
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  absl::Status status_;
};

absl::Status ReadFloats(const v1::SamplingParams& in, const GenerationDefaults& defaults,
                        request::SamplingParams* out) {
  FloatReader reader;
  reader.Read("temperature", in.has_temperature(), in.temperature(), defaults.temperature, 0, 2, &out->temperature);
  reader.Take("top_p", in.has_top_p(), in.top_p(), defaults.top_p, in.top_p() > 0 && in.top_p() <= 1,
              "must be in (0, 1]", &out->top_p);
  reader.Read("min_p", in.has_min_p(), in.min_p(), defaults.min_p, 0, 1, &out->min_p);
  reader.Read("frequency_penalty", in.has_frequency_penalty(), in.frequency_penalty(), std::nullopt, -2, 2,
              &out->frequency_penalty);
  reader.Read("presence_penalty", in.has_presence_penalty(), in.presence_penalty(), std::nullopt, -2, 2,
              &out->presence_penalty);
  reader.Take("repetition_penalty", in.has_repetition_penalty(), in.repetition_penalty(), defaults.repetition_penalty,
              std::isfinite(in.repetition_penalty()) && in.repetition_penalty() > 0,
              "must be finite and greater than 0", &out->repetition_penalty);
  return reader.status();
}

absl::Status CheckEnvelope(const v1::GenerateRequest& message, const Limits& limits) {
  if (message.has_request_id()) {
    if (absl::Status status = CheckRequestId(message.request_id()); !status.ok()) return status;
  }
  if (message.has_model() && message.model() != limits.served_model_name) {
    return FieldError(absl::StatusCode::kNotFound, "model",
                      absl::StrCat("must be ", Quote(limits.served_model_name), ", the only model served here, got ",
                                   Quote(message.model()), "."));
  }
  if (message.priority() != 0 && !limits.priorities) {
    return Invalid("priority",
                   absl::StrCat("must be 0 unless --scheduling_policy=priority, got ", message.priority(), "."));
  }
  if (message.shared_prefix_tokens() > 0 && !limits.prefix_caching) {
    return Invalid("shared_prefix_tokens", absl::StrCat("must be 0 with --enable_prefix_caching=false, got ",
                                                        message.shared_prefix_tokens(), "."));
  }
  return ReadConstraint(message.sampling_params()).status();
}

absl::Status ReadCount(const v1::SamplingParams& in, const Limits& limits, request::SamplingParams* out) {
  out->n = in.has_n() ? in.n() : 1;
  if (out->n < 1 || out->n > kChoicesMax) {
    return Invalid("sampling_params.n", absl::StrCat("must be in [1, ", kChoicesMax, "], got ", out->n, "."));
  }
  if (out->n > limits.max_num_seqs) {
    return Invalid("sampling_params.n",
                   absl::StrCat("must be at most max_num_seqs = ", limits.max_num_seqs, ", got ", out->n, "."));
  }
  if (out->n > 1 && out->temperature == 0 && !in.use_beam_search()) {
    return Invalid("sampling_params.n",
                   absl::StrCat("must be 1 with temperature 0 (all choices would be the same), got ", out->n, "."));
  }
  return absl::OkStatus();
}

absl::Status ReadBestOf(const v1::GenerateRequest& message, const Limits& limits, request::SamplingParams* out) {
  constexpr char kField[] = "sampling_params.best_of";
  const v1::SamplingParams& in = message.sampling_params();
  out->best_of = in.has_best_of() ? in.best_of() : out->n;
  if (out->best_of < out->n || out->best_of > kChoicesMax) {
    return Invalid(kField,
                   absl::StrCat("must be in [n, ", kChoicesMax, "] with n = ", out->n, ", got ", out->best_of, "."));
  }
  if (out->best_of == out->n) return absl::OkStatus();
  if (out->best_of > limits.max_num_seqs) {
    return Invalid(kField,
                   absl::StrCat("must be at most max_num_seqs = ", limits.max_num_seqs, ", got ", out->best_of, "."));
  }
  if (out->temperature == 0) {
    return Invalid(
        kField, absl::StrCat("must be 1 with temperature 0 (all samples would be the same), got ", out->best_of, "."));
  }
  if (message.stream()) {
    return Invalid(kField, absl::StrCat("cannot be streamed when it is greater than n: which samples are best is known "
                                        "at the end, got ",
                                        out->best_of, " with n = ", out->n, "."));
  }
  return absl::OkStatus();
}

absl::Status ReadStops(const v1::SamplingParams& in, const Limits& limits, request::SamplingParams* out) {
  if (static_cast<size_t>(in.stop_size()) > kStopStringsMax) {
    return Invalid("sampling_params.stop",
                   absl::StrCat("may hold at most ", kStopStringsMax, " strings, got ", in.stop_size(), "."));
  }
  if (in.stop_size() > 0 && in.has_detokenize() && !in.detokenize()) {
    return Invalid("sampling_params.stop", "must be empty with detokenize false: it is found in the text.");
  }
  for (const std::string& stop : in.stop()) {
    if (stop.empty() || stop.size() > kStopStringBytesMax) {
      return Invalid("sampling_params.stop", absl::StrCat("must hold strings of 1 to ", kStopStringBytesMax,
                                                          " bytes, got one of ", stop.size(), "."));
    }
    if (const size_t at = text::FindInvalidUtf8(stop); at != absl::string_view::npos) {
      return Invalid("sampling_params.stop", absl::StrCat("must be valid UTF-8, got a bad byte at ", at, "."));
    }
    out->stop.push_back(stop);
  }
  if (static_cast<size_t>(in.stop_token_ids_size()) > kStopTokenIdsMax) {
    return Invalid("sampling_params.stop_token_ids",
                   absl::StrCat("may hold at most ", kStopTokenIdsMax, " ids, got ", in.stop_token_ids_size(), "."));
  }
  for (const uint32_t id : in.stop_token_ids()) {
    if (id >= static_cast<uint32_t>(limits.vocab_size)) {
      return Invalid("sampling_params.stop_token_ids",
                     absl::StrCat("must be below the vocabulary size ", limits.vocab_size, ", got ", id, "."));
    }
    out->stop_token_ids.push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

absl::Status ReadLogitBias(const v1::SamplingParams& in, const Limits& limits, request::SamplingParams* out) {
  if (in.logit_bias().size() > kLogitBiasMax) {
    return Invalid("sampling_params.logit_bias",
                   absl::StrCat("may hold at most ", kLogitBiasMax, " entries, got ", in.logit_bias().size(), "."));
  }
  for (const auto& [id, bias] : in.logit_bias()) {
    if (id < 0 || id >= limits.vocab_size) {
      return Invalid("sampling_params.logit_bias",
                     absl::StrCat("must have token ids in [0, ", limits.vocab_size, "), got ", id, "."));
    }
    if (!(bias >= -100 && bias <= 100)) {
      return Invalid("sampling_params.logit_bias",
                     absl::StrCat("must be in [-100, 100], got ", Show(bias), " for token ", id, "."));
    }
    out->logit_bias.emplace_back(id, bias);
  }
  // A protobuf map has no order of its own.
  std::sort(out->logit_bias.begin(), out->logit_bias.end());
  return absl::OkStatus();
}

absl::Status ReadLogprobs(const v1::SamplingParams& in, const Limits& limits, request::SamplingParams* out) {
  // More than the vocabulary cannot be had, so that bounds it too.
  const int32_t most = std::min(limits.max_logprobs, limits.vocab_size);
  const auto read = [most](const char* field, bool given, int32_t value, int32_t* to) {
    if (!given) return absl::OkStatus();
    if (value < 0 || value > most) return Invalid(field, absl::StrCat("must be in [0, ", most, "], got ", value, "."));
    *to = value;
    return absl::OkStatus();
  };
  if (absl::Status s = read("sampling_params.logprobs", in.has_logprobs(), in.logprobs(), &out->logprobs); !s.ok()) {
    return s;
  }
  return read("sampling_params.prompt_logprobs", in.has_prompt_logprobs(), in.prompt_logprobs(), &out->prompt_logprobs);
}

absl::Status CheckPromptLogprobs(const request::SamplingParams& params, int64_t prompt_len) {
  if (params.prompt_logprobs < 0) return absl::OkStatus();
  const int64_t values = prompt_len * (1 + params.prompt_logprobs);
  if (values <= kPromptLogprobsMax) return absl::OkStatus();
  return Invalid("sampling_params.prompt_logprobs",
                 absl::StrCat("asks for too much: a prompt of ", prompt_len, " tokens x (1 + ", params.prompt_logprobs,
                              ") is ", values, ", must be at most ", kPromptLogprobsMax, "."));
}

uint64_t DrawSeed() {
  absl::BitGen random;
  // Non-negative as int64, the type in which it is returned: easier to paste back.
  return absl::Uniform<uint64_t>(random) >> 1;
}

// Everything of the sampling parameters that does not depend on the length of the prompt.
absl::Status ReadSampling(const v1::SamplingParams& in, const Limits& limits, request::SamplingParams* out) {
  if (absl::Status s = ReadFloats(in, limits.defaults, out); !s.ok()) return s;
  if (absl::Status s = ReadCount(in, limits, out); !s.ok()) return s;
  if (absl::Status s = ReadStops(in, limits, out); !s.ok()) return s;
  if (absl::Status s = ReadLogitBias(in, limits, out); !s.ok()) return s;
  if (absl::Status s = ReadLogprobs(in, limits, out); !s.ok()) return s;
  if (in.has_max_tokens() && in.max_tokens() < 1) {
    return Invalid("sampling_params.max_tokens", "must be at least 1, got 0.");
  }
  out->top_k = in.has_top_k() ? in.top_k() : limits.defaults.top_k.value_or(0);
  if (out->top_k >= static_cast<uint32_t>(limits.vocab_size)) out->top_k = 0;
  if (absl::Status s = ReadBeams(in, limits.max_num_seqs, out); !s.ok()) return s;
  out->ignore_eos = in.ignore_eos();
  out->include_stop_str_in_output = in.include_stop_str_in_output();
  out->seed = in.has_seed() ? static_cast<uint64_t>(in.seed()) : DrawSeed();
  return absl::OkStatus();
}

absl::Status ReadIds(const v1::TokenizedInput& in, const Limits& limits, std::vector<int32_t>* out) {
  constexpr char kField[] = "tokenized.input_ids";
  if (in.input_ids().empty()) return Invalid(kField, "must hold at least 1 token id, got 0.");
  out->reserve(static_cast<size_t>(in.input_ids_size()));
  for (int i = 0; i < in.input_ids_size(); ++i) {
    const uint32_t id = in.input_ids(i);
    if (id >= static_cast<uint32_t>(limits.vocab_size)) {
      return Invalid(kField, absl::StrCat("must be below the vocabulary size ", limits.vocab_size, ", got ", id,
                                          " at position ", i, "."));
    }
    out->push_back(static_cast<int32_t>(id));
  }
  return absl::OkStatus();
}

// The ids of a text, which is the field's or was made of it.
absl::Status ReadText(absl::string_view field, const std::string& text, bool add_special_tokens, const Limits& limits,
                      const Encode& encode, std::vector<int32_t>* out) {
  if (encode == nullptr) {
    return FieldError(absl::StatusCode::kFailedPrecondition, field,
                      "cannot be taken: this server has no tokenizer; send tokenized.input_ids.");
  }
  if (text.empty()) return Invalid(field, "must not be empty.");
  if (const size_t at = text::FindInvalidUtf8(text); at != absl::string_view::npos) {
    return Invalid(field, absl::StrCat("must be valid UTF-8, got a bad byte at ", at, "."));
  }
  absl::StatusOr<std::vector<int32_t>> ids = encode(text, add_special_tokens);
  if (!ids.ok()) return WithErrorField(ids.status(), field);
  if (ids->empty()) return Invalid(field, "must hold at least 1 token, got 0.");
  for (const int32_t id : *ids) {
    // A tokenizer that does not belong to the model; the sender can do nothing about it.
    if (id < 0 || id >= limits.vocab_size) {
      return FieldError(
          absl::StatusCode::kFailedPrecondition, field,
          absl::StrCat("has token id ", id, " under this server's tokenizer, but the model's vocabulary has ",
                       limits.vocab_size, "."));
    }
  }
  *out = *std::move(ids);
  return absl::OkStatus();
}

// Keeps the prompt's last tokens, as many as the client wants.
absl::Status Truncate(const v1::SamplingParams& in, const Limits& limits, std::vector<int32_t>* ids) {
  if (!in.has_truncate_prompt_tokens()) return absl::OkStatus();
  int64_t most = in.truncate_prompt_tokens();
  if (most < -1 || most == 0) {
    return Invalid("sampling_params.truncate_prompt_tokens",
                   absl::StrCat("must be at least 1, or -1 for as many as leave room for max_tokens, got ", most, "."));
  }
  if (most == -1) most = std::max<int64_t>(1, limits.max_model_len - std::max<uint32_t>(1, in.max_tokens()));
  if (static_cast<int64_t>(ids->size()) > most) ids->erase(ids->begin(), ids->end() - most);
  return absl::OkStatus();
}

// The prompt's ids; a conversation adds to what ends an answer, too.
absl::Status ReadPrompt(const v1::GenerateRequest& message, const Limits& limits, const Encode& encode,
                        const RenderChat& render_chat, request::Request* request) {
  std::vector<int32_t>* const out = &request->prompt_ids;
  const char* field = "text";
  absl::Status status = Invalid("input", "is required: set text, chat or tokenized.");
  if (message.has_tokenized()) {
    field = "tokenized.input_ids";
    status = ReadIds(message.tokenized(), limits, out);
  } else if (message.has_text()) {
    status = ReadText(field, message.text(), /*add_special_tokens=*/true, limits, encode, out);
  } else if (message.has_chat()) {
    field = "chat.messages";
    const absl::StatusOr<ChatPrompt> prompt = ReadChat(message.chat(), render_chat);
    if (!prompt.ok()) return prompt.status();
    status = ReadText(field, prompt->text, prompt->add_special_tokens, limits, encode, out);
    const v1::SamplingParams& in = message.sampling_params();
    if (status.ok()) AddChatStops(*prompt, encode, !in.has_detokenize() || in.detokenize(), &request->params);
  }
  if (!status.ok()) return status;
  if (absl::Status s = Truncate(message.sampling_params(), limits, out); !s.ok()) return s;
  if (static_cast<int64_t>(out->size()) < limits.max_model_len) return absl::OkStatus();
  return TooLong(field,
                 absl::StrCat("leaves no room for output: the prompt has ", out->size(),
                              " tokens, prompt + 1 must be at most max_model_len = ", limits.max_model_len, "."));
}

absl::Status ReadLengths(const v1::SamplingParams& in, const Limits& limits, int64_t prompt_len,
                         request::SamplingParams* out) {
  const int64_t room = limits.max_model_len - prompt_len;
  if (in.has_max_tokens()) {
    if (in.max_tokens() > room) {
      return TooLong("sampling_params.max_tokens",
                     absl::StrCat("must be at most ", room, ", got ", in.max_tokens(), ": a prompt of ", prompt_len,
                                  " tokens + max_tokens ", in.max_tokens(),
                                  " exceeds max_model_len = ", limits.max_model_len, "."));
    }
    out->max_tokens = in.max_tokens();
  } else {
    out->max_tokens = static_cast<uint32_t>(
        std::min<int64_t>(room, limits.defaults.max_new_tokens.value_or(std::numeric_limits<uint32_t>::max())));
  }
  const uint32_t least = std::min(limits.defaults.min_new_tokens.value_or(0), out->max_tokens);
  out->min_tokens = in.has_min_tokens() ? in.min_tokens() : least;
  if (out->min_tokens > out->max_tokens) {
    return Invalid("sampling_params.min_tokens",
                   absl::StrCat("must be at most max_tokens = ", out->max_tokens, ", got ", out->min_tokens, "."));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<request::Request> Validate(const v1::GenerateRequest& message, const Limits& limits,
                                          const Encode& encode, const RenderChat& render_chat) {
  request::Request request;
  const v1::SamplingParams& sampling = message.sampling_params();
  if (absl::Status s = CheckEnvelope(message, limits); !s.ok()) return s;
  if (encode == nullptr && !sampling.stop().empty()) {
    return FieldError(absl::StatusCode::kFailedPrecondition, "sampling_params.stop",
                      "cannot be found: this server has no tokenizer; use stop_token_ids.");
  }
  if (absl::Status s = ReadSampling(sampling, limits, &request.params); !s.ok()) return s;
  const bool has_text = encode != nullptr && (!sampling.has_detokenize() || sampling.detokenize());
  if (sampling.stop().empty() && has_text) request.params.stop = limits.defaults.stop_strings;
  if (absl::Status s = ReadBestOf(message, limits, &request.params); !s.ok()) return s;
  if (absl::Status s = ReadTokenRules(sampling, limits.vocab_size, encode, &request.params); !s.ok()) return s;
  if (absl::Status s = ReadPrompt(message, limits, encode, render_chat, &request); !s.ok()) return s;
  const auto prompt_len = static_cast<int64_t>(request.prompt_ids.size());
  if (absl::Status s = ReadLengths(sampling, limits, prompt_len, &request.params); !s.ok()) return s;
  if (absl::Status s = CheckPromptLogprobs(request.params, prompt_len); !s.ok()) return s;
  if (message.shared_prefix_tokens() > prompt_len) {
    return Invalid("shared_prefix_tokens", absl::StrCat("must be at most the prompt's length of ", prompt_len,
                                                        " tokens, got ", message.shared_prefix_tokens(), "."));
  }
  request.shared_prefix_tokens = message.shared_prefix_tokens();
  request.priority = message.priority();
  request.request_id = message.has_request_id() ? message.request_id() : MakeUuid();
  return request;
}

}  // namespace quire::frontend
