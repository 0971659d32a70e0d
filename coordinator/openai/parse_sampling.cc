#include "coordinator/openai/parse_sampling.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coordinator/openai/constraint.h"

namespace quire::openai {
namespace {

constexpr int64_t kUint32Max = std::numeric_limits<uint32_t>::max();
constexpr int64_t kInt32Min = std::numeric_limits<int32_t>::min();
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

void ReadFloats(Fields* fields, v1::SamplingParams* out) {
  if (const auto v = fields->Float("temperature")) out->set_temperature(*v);
  if (const auto v = fields->Float("top_p")) out->set_top_p(*v);
  if (const auto v = fields->Float("min_p")) out->set_min_p(*v);
  if (const auto v = fields->Float("frequency_penalty")) out->set_frequency_penalty(*v);
  if (const auto v = fields->Float("presence_penalty")) out->set_presence_penalty(*v);
  if (const auto v = fields->Float("repetition_penalty")) out->set_repetition_penalty(*v);
}

void ReadCounts(Fields* fields, Call* call, v1::SamplingParams* out) {
  // -1 is vLLM's word for all of them.
  if (const auto v = fields->Int("top_k", -1, kUint32Max)) out->set_top_k(static_cast<uint32_t>(*v < 0 ? 0 : *v));
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {  // the later one wins
    const auto v = fields->Int(name, 0, kUint32Max);
    if (!v.has_value()) continue;
    out->set_max_tokens(static_cast<uint32_t>(*v));
    call->names.max_tokens = name;
  }
  if (const auto v = fields->Int("min_tokens", 0, kUint32Max)) out->set_min_tokens(static_cast<uint32_t>(*v));
  if (const auto v = fields->Int("n", 0, kUint32Max)) {
    out->set_n(static_cast<uint32_t>(*v));
    call->answer.n = out->n();
  }
  if (const auto v = fields->Int("best_of", 0, kUint32Max)) out->set_best_of(static_cast<uint32_t>(*v));
  if (const auto v = fields->Int("seed", std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())) {
    out->set_seed(*v);
  }
  if (const auto v = fields->Int("prompt_logprobs", kInt32Min, kInt32Max)) {
    out->set_prompt_logprobs(static_cast<int32_t>(*v));
    call->answer.prompt_logprobs = true;
  }
  if (const auto v = fields->Int("truncate_prompt_tokens", kInt32Min, kInt32Max)) {
    out->set_truncate_prompt_tokens(static_cast<int32_t>(*v));
  }
}

void ReadText(Fields* fields, Call* call, v1::SamplingParams* out) {
  for (std::string& stop : fields->Strings("stop")) out->add_stop(std::move(stop));
  for (const uint32_t id : fields->Ids("stop_token_ids")) out->add_stop_token_ids(id);
  call->answer.stop_token_ids.assign(out->stop_token_ids().begin(), out->stop_token_ids().end());
  if (const auto v = fields->Bool("skip_special_tokens")) out->set_skip_special_tokens(*v);
  if (const auto v = fields->Bool("spaces_between_special_tokens")) out->set_spaces_between_special_tokens(*v);
  if (const auto v = fields->Bool("include_stop_str_in_output")) out->set_include_stop_str_in_output(*v);
  if (const auto v = fields->Bool("ignore_eos")) out->set_ignore_eos(*v);
  if (const auto v = fields->Bool("return_tokens_as_token_ids")) call->answer.tokens_as_token_ids = *v;
}

void ReadLogitBias(Fields* fields, v1::SamplingParams* out) {
  const Json* bias = fields->Object("logit_bias");
  if (bias == nullptr) return;
  if (bias->size() > kListMax) {
    fields->Fail("logit_bias", absl::StrCat("may hold at most ", kListMax, " entries, got ", bias->size(), "."));
    return;
  }
  Fields values(*bias, fields->Path("logit_bias."), fields->mutable_status());
  for (const auto& [key, value] : bias->get_ref<const Json::object_t&>()) {
    int32_t id = 0;
    // SimpleAtoi also takes blanks and a plus sign.
    if (!absl::SimpleAtoi(key, &id) || absl::StrCat(id) != key || !value.is_number()) {
      fields->Fail("logit_bias", "must map token ids, as strings, to numbers.");
      return;
    }
    (*out->mutable_logit_bias())[id] = values.Float(key).value_or(0);
  }
}

void ReadBeams(Fields* fields, v1::SamplingParams* out) {
  if (const auto v = fields->Bool("use_beam_search")) out->set_use_beam_search(*v);
  if (const auto v = fields->Int("beam_width", 0, kUint32Max)) out->set_beam_width(static_cast<uint32_t>(*v));
  if (const auto v = fields->Float("length_penalty")) out->set_length_penalty(*v);
  const Json* early = fields->Find("early_stopping");
  if (early == nullptr) return;
  if (early->is_boolean()) {
    out->set_early_stopping(early->get<bool>() ? "true" : "false");
  } else if (const std::string* text = fields->String("early_stopping"); text != nullptr) {
    out->set_early_stopping(*text);
  }
}

}  // namespace

void ReadSampling(Fields* fields, Call* call, v1::SamplingParams* out) {
  ReadFloats(fields, out);
  ReadCounts(fields, call, out);
  ReadText(fields, call, out);
  ReadLogitBias(fields, out);
  ReadBeams(fields, out);
  ReadConstraint(fields, call, out);
  for (std::string& word : fields->Strings("bad_words")) out->add_bad_words(std::move(word));
  for (const uint32_t id : fields->Ids("allowed_token_ids")) out->add_allowed_token_ids(id);
}

void ReadEnvelope(Fields* fields, Call* call, v1::GenerateRequest* out) {
  if (const std::string* model = fields->String("model")) {
    call->model = *model;
    out->set_model(*model);
  }
  if (const auto v = fields->Bool("stream")) {
    out->set_stream(*v);
    call->answer.stream = *v;
  }
  if (const std::string* id = fields->String("request_id")) out->set_request_id(*id);
  if (const auto v = fields->Int("priority", kInt32Min, kInt32Max)) out->set_priority(static_cast<int32_t>(*v));
  if (const auto v = fields->Int("shared_prefix_tokens", 0, kUint32Max)) {
    out->set_shared_prefix_tokens(static_cast<uint32_t>(*v));
  }
  const Json* options = fields->Object("stream_options");
  if (options == nullptr) return;
  if (!call->answer.stream) fields->Fail("stream_options", "is for streams only; set stream or leave it unset.");
  Fields stream(*options, fields->Path("stream_options."), fields->mutable_status());
  call->answer.include_usage = stream.Bool("include_usage").value_or(false);
  call->answer.continuous_usage_stats = stream.Bool("continuous_usage_stats").value_or(false);
}

void RefuseUnserved(Fields* fields) {
  for (const char* name : {"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"}) {
    fields->Ignore(name);
  }
  constexpr char kServers[] = "is never taken from a client: leave it unset.";
  fields->Refuse("chat_template", kServers);
  fields->Refuse("cache_salt", kServers);
  constexpr char kNotYet[] = "is not served yet; leave it unset.";
  for (const char* name : {"logits_processors", "prompt_embeds", "mm_processor_kwargs", "return_token_ids"}) {
    const Json* value = fields->Find(name);
    const bool harmless = value != nullptr && (value->empty() || (value->is_boolean() && !value->get<bool>()));
    fields->RefuseUnless(name, harmless, kNotYet);
  }
  fields->RefuseUnless("detokenize", fields->Bool("detokenize").value_or(true), "must be true: the answer is a text.");
}

}  // namespace quire::openai
