#include "coordinator/http/endpoints.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/validate.h"
#include "coordinator/http/answer_stream.h"
#include "coordinator/http/gate.h"
#include "coordinator/http/monitor/monitor.h"
#include "coordinator/openai/answer.h"
#include "coordinator/openai/call.h"
#include "coordinator/openai/errors.h"
#include "coordinator/openai/text_calls.h"
#include "proto/generate.pb.h"

namespace quire::http {
namespace {

using ExchangePtr = std::shared_ptr<Exchange>;

constexpr char kJson[] = "application/json";
constexpr absl::string_view kModelPath = "/v1/models/";

class OpenAiFormat final : public AnswerFormat {
 public:
  OpenAiFormat(openai::ClientNames names, openai::AnswerOptions options, openai::AnswerInfo info)
      : names_(std::move(names)), answer_(std::move(options), std::move(info)) {}
  std::string Add(size_t prompt, const v1::GenerateResponse& response) override {
    return answer_.Add(prompt, response);
  }
  std::string Finish() override { return answer_.Finish(); }
  absl::Status InClientNames(size_t prompt, const absl::Status& status) const override {
    return openai::InClientNames(status, names_, prompt);
  }

 private:
  const openai::ClientNames names_;
  openai::Answer answer_;
};

absl::Status CheckModel(const frontend::Api& api, absl::string_view model) {
  const std::string& served = api.options().served_model_name;
  if (model.empty() || model == served) return absl::OkStatus();
  return frontend::FieldError(absl::StatusCode::kNotFound, "model",
                              absl::StrCat("must be '", served, "', got '", model.substr(0, 256), "'."));
}

// The label of a call's requests: the header's, where the body has none.
void LabelRequests(const std::string& label, std::vector<v1::GenerateRequest>* requests) {
  for (size_t i = 0; i < requests->size(); ++i) {
    v1::GenerateRequest& request = (*requests)[i];
    if (label.empty() || request.has_request_id()) continue;
    const std::string own = requests->size() == 1 ? label : absl::StrCat(label, "-", i);
    if (IsLabel(own)) request.set_request_id(own);
  }
}

// Validation bounds the log-probs of one prompt; this those of a call, which an echo repeats for each choice.
absl::Status CheckPromptLogprobs(const openai::Call& call, const std::vector<frontend::Prepared>& prepared) {
  int64_t values = 0;
  for (const frontend::Prepared& one : prepared) {
    if (one.request.params.prompt_logprobs < 0) continue;
    values += static_cast<int64_t>(one.request.prompt_ids.size()) * (1 + one.request.params.prompt_logprobs);
  }
  if (call.answer.echo) values *= call.answer.n;
  if (values <= frontend::kPromptLogprobsMax) return absl::OkStatus();
  return frontend::FieldError(absl::StatusCode::kInvalidArgument, call.names.prompt_logprobs,
                              absl::StrCat("asks for too much: ", values,
                                           " log-probs of all prompts and choices, must "
                                           "be at most ",
                                           frontend::kPromptLogprobsMax, "."));
}

void Generate(frontend::Api* api, openai::Endpoint endpoint, const ExchangePtr& exchange) {
  const Request& request = exchange->request();
  absl::StatusOr<openai::Call> call = endpoint == openai::Endpoint::kChat ? openai::ParseChatCompletion(request.body)
                                                                          : openai::ParseCompletion(request.body);
  exchange->ForgetBody();
  if (!call.ok()) return ReplyError(exchange.get(), call.status());
  LabelRequests(request.request_id, &call->requests);
  std::vector<frontend::Prepared> prepared;
  for (size_t i = 0; i < call->requests.size(); ++i) {
    absl::StatusOr<frontend::Prepared> one = api->Prepare(call->requests[i], request.caller, absl::InfiniteFuture());
    if (!one.ok()) return ReplyError(exchange.get(), openai::InClientNames(one.status(), call->names, i));
    prepared.push_back(*std::move(one));
  }
  if (absl::Status s = CheckPromptLogprobs(*call, prepared); !s.ok()) return ReplyError(exchange.get(), s);
  openai::AnswerInfo info;
  info.request_id = prepared.front().response.request_id;
  info.model = api->options().served_model_name;
  info.created = absl::ToUnixSeconds(absl::Now());
  const bool stream = call->answer.stream;
  auto format = std::make_unique<OpenAiFormat>(std::move(call->names), std::move(call->answer), std::move(info));
  AnswerStream::Start(exchange, api, std::move(prepared), stream, std::move(format));
}

void Tokenize(frontend::Api* api, const ExchangePtr& exchange) {
  absl::StatusOr<openai::TokenizeCall> call = openai::ParseTokenize(exchange->request().body);
  exchange->ForgetBody();
  if (!call.ok()) return ReplyError(exchange.get(), call.status());
  v1::TokenizeResponse response;
  v1::GetModelInfoResponse info;
  absl::Status status = CheckModel(*api, call->model);
  if (status.ok()) status = api->GetModelInfo(&info);
  if (status.ok()) {
    status =
        call->chat.has_value() ? api->TokenizeChat(*call->chat, &response) : api->Tokenize(call->request, &response);
  }
  if (!status.ok()) return ReplyError(exchange.get(), openai::InClientNames(status, call->names, 0));
  const std::vector<uint32_t> ids(response.ids().begin(), response.ids().end());
  exchange->Reply(200, kJson, openai::TokenizeBody(ids, info.max_context_length()));
}

void Detokenize(frontend::Api* api, const ExchangePtr& exchange) {
  absl::StatusOr<openai::DetokenizeCall> call = openai::ParseDetokenize(exchange->request().body);
  exchange->ForgetBody();
  if (!call.ok()) return ReplyError(exchange.get(), call.status());
  v1::DetokenizeResponse response;
  absl::Status status = CheckModel(*api, call->model);
  if (status.ok()) status = api->Detokenize(call->request, &response);
  if (!status.ok()) return ReplyError(exchange.get(), openai::InClientNames(status, call->names, 0));
  exchange->Reply(200, kJson, openai::DetokenizeBody(response.text()));
}

// With a name in the path: that one alone.
void Models(frontend::Api* api, int64_t created, const ExchangePtr& exchange) {
  const absl::string_view path = exchange->request().path;
  v1::GetModelInfoResponse info;
  if (absl::Status status = api->GetModelInfo(&info); !status.ok()) return ReplyError(exchange.get(), status);
  const bool one = path.size() > kModelPath.size();
  if (!one) return exchange->Reply(200, kJson, openai::ModelsBody(info, created));
  if (absl::Status status = CheckModel(*api, path.substr(kModelPath.size())); !status.ok()) {
    return ReplyError(exchange.get(), status);
  }
  exchange->Reply(200, kJson, openai::ModelBody(info, created));
}

void Ready(frontend::Api* api, const ExchangePtr& exchange) {
  if (api->Ready()) return exchange->Reply(200, kJson, R"({"ready":true})");
  exchange->Reply(503, kJson, R"({"ready":false})", {{"Retry-After", "1"}});
}

void Load(frontend::Api* api, const ExchangePtr& exchange) {
  v1::GetLoadsResponse loads;
  api->GetLoads(&loads);
  exchange->Reply(200, kJson,
                  absl::StrCat("{\"server_load\":", loads.num_running_reqs() + loads.num_waiting_reqs(),
                               ",\"num_running_reqs\":", loads.num_running_reqs(),
                               ",\"num_waiting_reqs\":", loads.num_waiting_reqs(), "}"));
}

}  // namespace

std::vector<Route> ApiRoutes(frontend::Api* api, AuthPolicy metrics) {
  const int64_t created = absl::ToUnixSeconds(absl::Now());
  const RouteHandler alive = [](const ExchangePtr& exchange) { exchange->Reply(200, "", ""); };
  const RouteHandler models = [api, created](const ExchangePtr& exchange) { Models(api, created, exchange); };
  // The version is the binary's own: letters, digits and dots.
  const std::string version = absl::StrCat("{\"version\":\"", api->options().version, "\"}");
  return {
      {"GET", "/health", AuthPolicy::kOpen, alive},
      {"GET", "/ping", AuthPolicy::kOpen, alive},
      {"GET", "/ready", AuthPolicy::kOpen, [api](const ExchangePtr& exchange) { Ready(api, exchange); }},
      {"GET", "/version", AuthPolicy::kOpen,
       [version](const ExchangePtr& exchange) { exchange->Reply(200, kJson, version); }},
      {"GET", "/metrics", metrics, [api](const ExchangePtr& exchange) { ServeMetrics(api, exchange); }},
      {"GET", "/", AuthPolicy::kOpen, ServeStatusPage},
      {"GET", "/status", AuthPolicy::kKey, [api](const ExchangePtr& exchange) { ServeStatus(api, exchange); }},
      {"GET", "/load", AuthPolicy::kKey, [api](const ExchangePtr& exchange) { Load(api, exchange); }},
      {"GET", "/v1/models", AuthPolicy::kKey, models},
      {"GET", std::string(kModelPath), AuthPolicy::kKey, models},
      {"POST", "/v1/completions", AuthPolicy::kKey,
       [api](const ExchangePtr& exchange) { Generate(api, openai::Endpoint::kCompletion, exchange); }},
      {"POST", "/v1/chat/completions", AuthPolicy::kKey,
       [api](const ExchangePtr& exchange) { Generate(api, openai::Endpoint::kChat, exchange); }},
      {"POST", "/tokenize", AuthPolicy::kKey, [api](const ExchangePtr& exchange) { Tokenize(api, exchange); }},
      {"POST", "/detokenize", AuthPolicy::kKey, [api](const ExchangePtr& exchange) { Detokenize(api, exchange); }},
  };
}

}  // namespace quire::http
