#include "coordinator/frontend/api.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/recorded_sink.h"
#include "coordinator/frontend/text_adapter.h"
#include "coordinator/frontend/validate.h"
#include "coordinator/frontend/validate_chat.h"
#include "coordinator/frontend/validate_constraint.h"
#include "coordinator/grammar/grammars.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/tokenizer.h"
#include "proto/generate.pb.h"

namespace quire::frontend {
namespace {

absl::Status NoTokenizer(absl::string_view field) {
  return FieldError(absl::StatusCode::kFailedPrecondition, field, "cannot be taken: this server has no tokenizer.");
}

SpecialTokensInText WantedSpecialTokens(const v1::GenerateRequest& message) {
  const v1::SamplingParams& sampling = message.sampling_params();
  SpecialTokensInText special;
  if (sampling.has_skip_special_tokens()) special.skip = sampling.skip_special_tokens();
  if (sampling.has_spaces_between_special_tokens()) special.spaces_between = sampling.spaces_between_special_tokens();
  return special;
}

bool WantsText(const v1::GenerateRequest& message) {
  const v1::SamplingParams& sampling = message.sampling_params();
  return sampling.has_detokenize() ? sampling.detokenize() : true;
}

// The label by which the engine knows a request: of its tenant's. A label has no '/'.
std::string EngineLabel(const std::string& tenant, const std::string& label) {
  return tenant.empty() ? label : absl::StrCat(tenant, "/", label);
}

// What a caller may ask for, less than the server allows.
absl::Status ApplyCallersLimits(const v1::GenerateRequest& message, const access::Caller& caller,
                                request::SamplingParams* params) {
  const struct {
    const char* field;
    uint32_t value;
  } choices[] = {{"n", params->n}, {"best_of", params->best_of}, {"beam_width", params->beam_width}};
  for (const auto& choice : choices) {
    if (caller.max_choices == 0 || choice.value <= caller.max_choices) continue;
    return FieldError(absl::StatusCode::kInvalidArgument, absl::StrCat("sampling_params.", choice.field),
                      absl::StrCat("must be at most ", caller.max_choices, " with this key, got ", choice.value, "."));
  }
  if (caller.max_tokens <= 0 || params->max_tokens <= caller.max_tokens) return absl::OkStatus();
  if (!message.sampling_params().has_min_tokens()) {  // the model's default gives way
    params->min_tokens = std::min(params->min_tokens, static_cast<uint32_t>(caller.max_tokens));
  }
  if (message.sampling_params().has_max_tokens() || params->min_tokens > caller.max_tokens) {
    return FieldError(
        absl::StatusCode::kInvalidArgument, "sampling_params.max_tokens",
        absl::StrCat("must be at most ", caller.max_tokens, " with this key, got ", params->max_tokens, "."));
  }
  params->max_tokens = static_cast<uint32_t>(caller.max_tokens);
  return absl::OkStatus();
}

// Special tokens are no text: no grammar allows them.
std::unique_ptr<grammar::Grammars> MakeGrammars(const std::shared_ptr<const text::Tokenizer>& tokenizer) {
  if (tokenizer == nullptr) return nullptr;
  grammar::GrammarOptions options;
  options.explain = [](const absl::Status& status, const std::string& field) {
    return FieldError(status.code(), field, status.message());
  };
  return std::make_unique<grammar::Grammars>(options, [tokenizer](int32_t id) {
    const bool text = tokenizer->Contains(id) && !tokenizer->IsSpecial(id);
    return text ? tokenizer->TokenBytes(id) : std::string();
  });
}

// Keeps the request's place among its tenant's until the engine has let it go.
class CountedSink final : public engine::RequestSink {
 public:
  CountedSink(std::unique_ptr<LiveRequests::Place> place, std::unique_ptr<engine::RequestSink> sink)
      : place_(std::move(place)), sink_(std::move(sink)) {}
  void OnDelta(const engine::ChoiceDelta& delta) override { sink_->OnDelta(delta); }
  void OnEnd(const absl::Status& status, const engine::RequestTiming& timing) override {
    // First, so that a client that has its answer can send the next one.
    place_.reset();
    sink_->OnEnd(status, timing);
  }

 private:
  std::unique_ptr<LiveRequests::Place> place_;
  const std::unique_ptr<engine::RequestSink> sink_;
};

}  // namespace

Api::Api(const ApiOptions& options, engine::Replicas* engine, std::shared_ptr<const text::Tokenizer> tokenizer)
    : options_(options),
      engine_(engine),
      tokenizer_(std::move(tokenizer)),
      facts_(options, engine),
      start_time_(absl::Now()),
      live_(std::make_shared<LiveRequests>()),
      grammars_(MakeGrammars(tokenizer_)) {}

Api::~Api() = default;

absl::StatusOr<std::vector<int32_t>> Api::EncodeText(const std::string& text, bool add_special_tokens) const {
  std::vector<int32_t> ids;
  if (absl::Status status = tokenizer_->Encode(text, add_special_tokens, &ids); !status.ok()) return status;
  return ids;
}

Encode Api::MakeEncode() const {
  if (tokenizer_ == nullptr) return nullptr;
  return [this](const std::string& text, bool add_special_tokens) { return EncodeText(text, add_special_tokens); };
}

RenderChat Api::MakeRenderChat() const {
  if (tokenizer_ == nullptr) return nullptr;
  return [this](const chat::ChatRequest& request) -> absl::StatusOr<ChatPrompt> {
    const chat::ChatFormat* format = options_.chat_format.get();
    if (format == nullptr) {
      return absl::FailedPreconditionError(options_.no_chat_reason);
    }
    absl::StatusOr<std::string> text = format->Prompt(request, {absl::Now(), absl::LocalTimeZone()});
    if (!text.ok()) return text.status();
    return ChatPrompt{*std::move(text), format->add_special_tokens(), format->stops()};
  };
}

ResponseOptions Api::MakeResponseOptions(const v1::GenerateRequest& message, const request::Request& request) const {
  ResponseOptions options;
  options.stream = message.stream();
  options.num_choices = request.params.n;
  options.best_of = request.params.best_of;
  options.prompt_tokens = static_cast<uint32_t>(request.prompt_ids.size());
  options.logprobs = request.params.logprobs >= 0;
  options.prompt_logprobs = request.params.prompt_logprobs >= 0;
  options.echo = message.echo();
  options.seed = request.params.seed;
  options.request_id = request.request_id;
  if (WantsText(message) && (options.logprobs || options.prompt_logprobs))
    options.token_text = MakeTokenText(tokenizer_);
  if (options.echo || options.prompt_logprobs) {
    options.prompt_ids.assign(request.prompt_ids.begin(), request.prompt_ids.end());
  }
  if (!options.echo || !WantsText(message)) return options;
  if (message.has_text() && !message.sampling_params().has_truncate_prompt_tokens()) {
    options.prompt_text = message.text();
  } else if (tokenizer_ != nullptr) {
    options.prompt_text = tokenizer_->Decode(request.prompt_ids, WantedSpecialTokens(message).skip);
  }
  return options;
}

absl::StatusOr<Prepared> Api::Prepare(const v1::GenerateRequest& message, const access::Caller& caller,
                                      absl::Time deadline) {
  const int64_t arrival = metrics::MonotonicNanos();
  absl::StatusOr<Prepared> prepared = Check(message, caller, deadline);
  if (prepared.ok()) prepared->arrival = arrival;
  if (!prepared.ok() && metrics() != nullptr) metrics()->CountRejected(prepared.status());
  return prepared;
}

absl::StatusOr<Prepared> Api::Check(const v1::GenerateRequest& message, const access::Caller& caller,
                                    absl::Time deadline) {
  if (draining_.load(std::memory_order_relaxed)) {
    return absl::UnavailableError("the server is shutting down; send the request again elsewhere");
  }
  // Before the tokenizer runs; what counts is Submit's look.
  if (absl::Status status = live_->Check(caller.tenant, caller.max_live_requests); !status.ok()) return status;
  const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
  if (!facts.ok()) return facts.status();
  absl::StatusOr<request::Request> request = Validate(message, (*facts)->limits, MakeEncode(), MakeRenderChat());
  if (!request.ok()) return request.status();
  if (absl::Status status = ApplyCallersLimits(message, caller, &request->params); !status.ok()) return status;
  if (absl::Status status = Constrain(message, **facts, caller, &*request); !status.ok()) return status;
  Prepared prepared;
  prepared.response = MakeResponseOptions(message, *request);
  request->tenant = caller.tenant;
  request->weight = caller.weight;
  request->request_id = EngineLabel(caller.tenant, request->request_id);
  request->deadline = deadline;
  if (WantsText(message)) request->make_decoder = MakeDecoderFactory(tokenizer_, WantedSpecialTokens(message));
  prepared.request = *std::move(request);
  prepared.max_live_requests = caller.max_live_requests;
  return prepared;
}

// The grammar compiles while the request is on its way.
absl::Status Api::Constrain(const v1::GenerateRequest& message, const ReplicaFacts& facts, const access::Caller& caller,
                            request::Request* request) {
  absl::StatusOr<absl::optional<grammar::GrammarSource>> source = ReadConstraint(message.sampling_params());
  if (!source.ok() || !source->has_value()) return source.status();
  const std::string field = (*source)->field;
  if (grammars_ == nullptr) {
    return FieldError(absl::StatusCode::kFailedPrecondition, field, "cannot be taken: this server has no tokenizer.");
  }
  std::vector<int32_t> stop_ids = facts.info.eos_token_ids;
  stop_ids.insert(stop_ids.end(), request->params.stop_token_ids.begin(), request->params.stop_token_ids.end());
  if (stop_ids.empty()) {
    return FieldError(absl::StatusCode::kFailedPrecondition, field,
                      "cannot end: the model has no end-of-sequence token; give stop_token_ids.");
  }
  absl::StatusOr<grammar::Grammars::MakeConstraint> make =
      grammars_->Constrain(caller.tenant, *std::move(*source), std::move(stop_ids), facts.limits.vocab_size);
  if (!make.ok()) return make.status();
  request->make_constraint = *std::move(make);
  request->params.min_tokens = 0;  // the model's default: it would forbid the grammar's end
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Api::Submit(Prepared prepared, std::unique_ptr<engine::RequestSink> sink) {
  if (metrics() == nullptr) return Enqueue(std::move(prepared), std::move(sink));
  sink = MakeRecordedSink(metrics(), prepared.arrival, prepared.request, std::move(sink));
  absl::StatusOr<uint64_t> id = Enqueue(std::move(prepared), std::move(sink));
  if (!id.ok()) metrics()->CountRejected(id.status());
  return id;
}

absl::StatusOr<uint64_t> Api::Enqueue(Prepared prepared, std::unique_ptr<engine::RequestSink> sink) {
  absl::StatusOr<std::unique_ptr<LiveRequests::Place>> place =
      live_->Take(prepared.request.tenant, prepared.max_live_requests);
  if (!place.ok()) return place.status();
  return engine_->Submit(std::move(prepared.request),
                         std::make_unique<CountedSink>(*std::move(place), std::move(sink)));
}

void Api::Cancel(uint64_t id) { engine_->Cancel(id); }

void Api::Abort(const v1::AbortRequest& in, const access::Caller& caller) {
  for (const std::string& id : in.request_ids()) {
    // A '/' would reach into another tenant's labels.
    if (id.find('/') == std::string::npos) engine_->Abort(EngineLabel(caller.tenant, id));
  }
}

absl::Status Api::Tokenize(const v1::TokenizeRequest& in, v1::TokenizeResponse* out) const {
  if (in.has_chat()) {
    if (!in.has_text()) return TokenizeChat(in.chat(), out);
    return FieldError(absl::StatusCode::kInvalidArgument, "text", "must be unset where there is a chat.");
  }
  if (tokenizer_ == nullptr) return NoTokenizer("text");
  const bool add_special = in.has_add_special_tokens() ? in.add_special_tokens() : true;
  const absl::StatusOr<std::vector<int32_t>> ids = EncodeText(in.text(), add_special);
  if (!ids.ok()) return WithErrorField(ids.status(), "text");
  out->mutable_ids()->Add(ids->begin(), ids->end());
  return absl::OkStatus();
}

absl::Status Api::TokenizeChat(const v1::ChatInput& in, v1::TokenizeResponse* out) const {
  if (tokenizer_ == nullptr) return NoTokenizer("chat");
  const absl::StatusOr<ChatPrompt> prompt = ReadChat(in, MakeRenderChat());
  if (!prompt.ok()) return prompt.status();
  const absl::StatusOr<std::vector<int32_t>> ids = EncodeText(prompt->text, prompt->add_special_tokens);
  if (!ids.ok()) return WithErrorField(ids.status(), "chat");
  out->mutable_ids()->Add(ids->begin(), ids->end());
  out->set_text(prompt->text);
  return absl::OkStatus();
}

absl::Status Api::Detokenize(const v1::DetokenizeRequest& in, v1::DetokenizeResponse* out) {
  if (tokenizer_ == nullptr) return NoTokenizer("ids");
  const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
  if (!facts.ok()) return facts.status();
  const int32_t vocab_size = (*facts)->limits.vocab_size;
  for (const uint32_t id : in.ids()) {
    if (id < static_cast<uint32_t>(vocab_size)) continue;
    return FieldError(absl::StatusCode::kInvalidArgument, "ids",
                      absl::StrCat("must be below the vocabulary size ", vocab_size, ", got ", id, "."));
  }
  const std::vector<int32_t> ids(in.ids().begin(), in.ids().end());
  const bool skip_special = in.has_skip_special_tokens() ? in.skip_special_tokens() : true;
  out->set_text(tokenizer_->Decode(ids, skip_special));
  return absl::OkStatus();
}

}  // namespace quire::frontend
