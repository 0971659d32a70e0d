#include "coordinator/frontend/generator_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/frontend/field_error.h"
#include "coordinator/frontend/generate_stream.h"
#include "coordinator/frontend/parse_request.h"
#include "coordinator/frontend/replica_facts.h"
#include "coordinator/frontend/status_map.h"
#include "coordinator/frontend/text_adapter.h"
#include "coordinator/frontend/validate.h"
#include "coordinator/text/chat/chat_format.h"
#include "coordinator/text/tokenizer.h"
#include "proto/generate.grpc.pb.h"

namespace quire::frontend {
namespace {

template <typename Base>
using RawGenerate = v1::Generator::WithRawCallbackMethod_Generate<Base>;
template <typename Base>
using RawText = v1::Generator::WithRawCallbackMethod_Tokenize<v1::Generator::WithRawCallbackMethod_Detokenize<Base>>;
template <typename Base>
using RawInfo = v1::Generator::WithRawCallbackMethod_GetModelInfo<
    v1::Generator::WithRawCallbackMethod_GetServerInfo<v1::Generator::WithRawCallbackMethod_GetLoads<Base>>>;
// Raw: see parse_request.h.
using RawService = RawGenerate<v1::Generator::WithRawCallbackMethod_Abort<RawText<RawInfo<v1::Generator::Service>>>>;

using grpc::ByteBuffer;
using grpc::CallbackServerContext;

absl::Time DeadlineOf(const CallbackServerContext& context) {
  const std::chrono::system_clock::time_point deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

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

// Parses, handles, answers: one unary call.
template <typename In, typename Out, typename Handler>
grpc::ServerUnaryReactor* Answer(CallbackServerContext* context, const ByteBuffer* bytes, ByteBuffer* reply,
                                 const Handler& handler) {
  In in;
  Out out;
  absl::Status status = ParseRequest(*bytes, &in);
  if (status.ok()) status = handler(in, &out);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (status.ok()) {
    bool own_buffer = false;
    reactor->Finish(grpc::SerializationTraits<Out>::Serialize(out, reply, &own_buffer));
  } else {
    reactor->Finish(ToGrpcStatus(status, context));
  }
  return reactor;
}

template <typename Out>
void AddRanks(const engine::Loads& loads, Out* out) {
  for (size_t rank = 0; rank < loads.ranks.size(); ++rank) {
    v1::GetLoadsResponse::RankLoad* load = out->add_ranks();
    load->set_rank(static_cast<uint32_t>(rank));
    load->set_device_blocks_total(loads.ranks[rank].device_blocks_total);
    load->set_device_blocks_used(loads.ranks[rank].device_blocks_used);
    load->set_device_blocks_cached(loads.ranks[rank].device_blocks_cached);
    load->set_host_blocks_total(loads.ranks[rank].host_blocks_total);
    load->set_host_blocks_used(loads.ranks[rank].host_blocks_used);
  }
}

void AddReplica(const engine::ReplicaReport& report, v1::GetLoadsResponse* out) {
  v1::GetLoadsResponse::ReplicaLoad* load = out->add_replicas();
  load->set_replica(static_cast<uint32_t>(out->replicas_size() - 1));
  load->set_formed(report.state.formed);
  load->set_num_running_reqs(static_cast<uint32_t>(report.loads.num_running_reqs));
  load->set_num_waiting_reqs(static_cast<uint32_t>(report.loads.num_waiting_reqs));
  load->set_num_used_tokens(static_cast<uint64_t>(report.loads.num_used_tokens));
  load->set_max_total_num_tokens(static_cast<uint64_t>(report.loads.max_total_num_tokens));
  load->set_generation_tokens_total(static_cast<uint64_t>(report.loads.generation_tokens_total));
  load->set_cache_queried_tokens_total(static_cast<uint64_t>(report.loads.cache_queried_tokens_total));
  load->set_cache_hit_tokens_total(static_cast<uint64_t>(report.loads.cache_hit_tokens_total));
  AddRanks(report.loads, load);
}

void AddReplica(const engine::ReplicaReport& report, v1::GetServerInfoResponse* out) {
  v1::GetServerInfoResponse::Replica* replica = out->add_replicas();
  replica->set_replica(static_cast<uint32_t>(out->replicas_size() - 1));
  replica->set_formed(report.state.formed);
  replica->set_epoch(report.state.epoch);
  replica->set_steps(report.loads.steps);
  replica->mutable_backends()->Assign(report.backends.begin(), report.backends.end());
}

class GeneratorService final : public RawService {
 public:
  GeneratorService(const ServerOptions& options, engine::Replicas* engine,
                   std::shared_ptr<const text::Tokenizer> tokenizer)
      : options_(options),
        engine_(engine),
        tokenizer_(std::move(tokenizer)),
        facts_(options, engine),
        start_time_(absl::Now()) {}

  grpc::ServerWriteReactor<ByteBuffer>* Generate(CallbackServerContext* context, const ByteBuffer* bytes) override;
  grpc::ServerUnaryReactor* Abort(CallbackServerContext* context, const ByteBuffer* bytes, ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Tokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                     ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Detokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                       ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* GetModelInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                         ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* GetServerInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                          ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* GetLoads(CallbackServerContext* context, const ByteBuffer* bytes,
                                     ByteBuffer* reply) override;

 private:
  // Requires: tokenizer_.
  absl::StatusOr<std::vector<int32_t>> EncodeText(const std::string& text, bool add_special_tokens) const;
  Encode MakeEncode() const;
  RenderChat MakeRenderChat() const;
  ResponseOptions MakeResponseOptions(const v1::GenerateRequest& message, const request::Request& request) const;

  const ServerOptions options_;
  engine::Replicas* const engine_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  ReplicaFactsSource facts_;
  const absl::Time start_time_;
};

absl::StatusOr<std::vector<int32_t>> GeneratorService::EncodeText(const std::string& text,
                                                                  bool add_special_tokens) const {
  std::vector<int32_t> ids;
  if (absl::Status status = tokenizer_->Encode(text, add_special_tokens, &ids); !status.ok()) return status;
  return ids;
}

Encode GeneratorService::MakeEncode() const {
  if (tokenizer_ == nullptr) return nullptr;
  return [this](const std::string& text, bool add_special_tokens) { return EncodeText(text, add_special_tokens); };
}

RenderChat GeneratorService::MakeRenderChat() const {
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

ResponseOptions GeneratorService::MakeResponseOptions(const v1::GenerateRequest& message,
                                                      const request::Request& request) const {
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

grpc::ServerWriteReactor<ByteBuffer>* GeneratorService::Generate(CallbackServerContext* context,
                                                                 const ByteBuffer* bytes) {
  v1::GenerateRequest message;
  if (absl::Status status = ParseRequest(*bytes, &message); !status.ok()) {
    return GenerateStream::Refuse(context, status);
  }
  const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
  if (!facts.ok()) return GenerateStream::Refuse(context, facts.status());
  absl::StatusOr<request::Request> request = Validate(message, (*facts)->limits, MakeEncode(), MakeRenderChat());
  if (!request.ok()) return GenerateStream::Refuse(context, request.status());
  request->deadline = DeadlineOf(*context);
  if (WantsText(message)) request->make_decoder = MakeDecoderFactory(tokenizer_, WantedSpecialTokens(message));
  ResponseOptions options = MakeResponseOptions(message, *request);
  return GenerateStream::Start(context, engine_, *std::move(request), std::move(options));
}

grpc::ServerUnaryReactor* GeneratorService::Abort(CallbackServerContext* context, const ByteBuffer* bytes,
                                                  ByteBuffer* reply) {
  return Answer<v1::AbortRequest, v1::AbortResponse>(context, bytes, reply,
                                                     [this](const v1::AbortRequest& in, v1::AbortResponse*) {
                                                       for (const std::string& id : in.request_ids())
                                                         engine_->Abort(id);
                                                       return absl::OkStatus();
                                                     });
}

grpc::ServerUnaryReactor* GeneratorService::Tokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                                     ByteBuffer* reply) {
  return Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      context, bytes, reply, [this](const v1::TokenizeRequest& in, v1::TokenizeResponse* out) -> absl::Status {
        if (tokenizer_ == nullptr) return NoTokenizer("text");
        const bool add_special = in.has_add_special_tokens() ? in.add_special_tokens() : true;
        const absl::StatusOr<std::vector<int32_t>> ids = EncodeText(in.text(), add_special);
        if (!ids.ok()) return WithErrorField(ids.status(), "text");
        out->mutable_ids()->Add(ids->begin(), ids->end());
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* GeneratorService::Detokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                                       ByteBuffer* reply) {
  return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      context, bytes, reply, [this](const v1::DetokenizeRequest& in, v1::DetokenizeResponse* out) -> absl::Status {
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
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetModelInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                                         ByteBuffer* reply) {
  return Answer<v1::GetModelInfoRequest, v1::GetModelInfoResponse>(
      context, bytes, reply, [this](const v1::GetModelInfoRequest&, v1::GetModelInfoResponse* out) -> absl::Status {
        const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
        if (!facts.ok()) return facts.status();
        const cluster::ReplicaDescription& description = (*facts)->description;
        out->set_model_path(options_.model_path);
        out->set_max_context_length(static_cast<uint32_t>((*facts)->limits.max_model_len));
        out->set_vocab_size(static_cast<uint32_t>((*facts)->limits.vocab_size));
        out->set_served_model_name(options_.served_model_name);
        out->set_model_type(description.model_type);
        out->mutable_architectures()->Assign(description.architectures.begin(), description.architectures.end());
        const std::vector<int32_t>& eos = (*facts)->info.eos_token_ids;
        out->mutable_eos_token_ids()->Add(eos.begin(), eos.end());
        if (description.bos_token_id >= 0) out->set_bos_token_id(static_cast<uint32_t>(description.bos_token_id));
        out->set_default_sampling_params_json(description.generation_config_json);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetServerInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                                          ByteBuffer* reply) {
  return Answer<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
      context, bytes, reply, [this](const v1::GetServerInfoRequest&, v1::GetServerInfoResponse* out) -> absl::Status {
        const absl::StatusOr<std::shared_ptr<const ReplicaFacts>> facts = facts_.Get();
        if (!facts.ok()) return facts.status();
        const cluster::ReplicaDescription& description = (*facts)->description;
        const engine::Loads loads = engine_->GetLoads();
        out->set_version(options_.version);
        out->set_uptime_seconds(absl::ToDoubleSeconds(absl::Now() - start_time_));
        out->set_tensor_parallel_size(static_cast<uint32_t>(description.backends.size()));
        out->set_dtype(description.dtype);
        out->set_collective(description.collective);
        out->set_max_num_seqs(static_cast<uint32_t>(options_.max_num_seqs));
        out->set_max_num_batched_tokens(static_cast<uint32_t>(options_.max_num_batched_tokens));
        out->set_block_size(static_cast<uint32_t>((*facts)->info.block_size));
        out->set_epoch(loads.epoch);
        out->set_steps(loads.steps);
        out->mutable_backends()->Assign(description.backends.begin(), description.backends.end());
        out->set_weight_bytes(description.weight_bytes);
        out->set_kv_bytes_per_token(description.kv_bytes_per_token);
        out->set_step_seconds_p50(loads.step_seconds_p50);
        out->set_worker_seconds_p50(loads.worker_seconds_p50);
        for (const engine::ReplicaReport& report : engine_->GetReports()) AddReplica(report, out);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetLoads(CallbackServerContext* context, const ByteBuffer* bytes,
                                                     ByteBuffer* reply) {
  return Answer<v1::GetLoadsRequest, v1::GetLoadsResponse>(
      context, bytes, reply, [this](const v1::GetLoadsRequest&, v1::GetLoadsResponse* out) {
        const engine::Loads loads = engine_->GetLoads();
        out->set_num_running_reqs(static_cast<uint32_t>(loads.num_running_reqs));
        out->set_num_waiting_reqs(static_cast<uint32_t>(loads.num_waiting_reqs));
        out->set_num_used_tokens(static_cast<uint64_t>(loads.num_used_tokens));
        out->set_max_total_num_tokens(static_cast<uint64_t>(loads.max_total_num_tokens));
        const double total = static_cast<double>(loads.max_total_num_tokens);
        out->set_token_usage(total > 0 ? static_cast<double>(loads.num_used_tokens) / total : 0);
        out->set_gen_throughput(loads.gen_throughput);
        const double queried = static_cast<double>(loads.cache_queried_tokens_total);
        out->set_cache_hit_rate(queried > 0 ? static_cast<double>(loads.cache_hit_tokens_total) / queried : 0);
        out->set_cached_blocks(static_cast<uint64_t>(loads.cached_blocks));
        out->set_held_blocks(static_cast<uint64_t>(loads.held_blocks));
        out->set_num_preemptions(static_cast<uint64_t>(loads.num_preemptions));
        out->set_num_swaps(static_cast<uint64_t>(loads.num_swaps));
        out->set_kv_fragmentation(loads.fragmentation);
        out->set_num_recomputes(static_cast<uint64_t>(loads.num_preemptions - loads.num_swaps));
        out->set_num_forks(static_cast<uint64_t>(loads.num_forks));
        out->set_num_block_copies(static_cast<uint64_t>(loads.num_block_copies));
        out->set_blocks_swapped_out(static_cast<uint64_t>(loads.blocks_swapped_out));
        out->set_blocks_swapped_in(static_cast<uint64_t>(loads.blocks_swapped_in));
        out->set_cache_hit_tokens(static_cast<uint64_t>(loads.cache_hit_tokens_total));
        out->set_cache_queried_tokens(static_cast<uint64_t>(loads.cache_queried_tokens_total));
        out->set_generation_tokens_total(static_cast<uint64_t>(loads.generation_tokens_total));
        out->set_prompt_tokens_total(static_cast<uint64_t>(loads.prompt_tokens_total));
        out->set_spec_decode_num_draft_tokens_total(static_cast<uint64_t>(loads.spec_decode_num_draft_tokens_total));
        out->set_spec_decode_num_accepted_tokens_total(
            static_cast<uint64_t>(loads.spec_decode_num_accepted_tokens_total));
        out->set_stale_replies_total(loads.stale_replies_total);
        AddRanks(loads, out);
        for (const engine::ReplicaReport& report : engine_->GetReports()) AddReplica(report, out);
        return absl::OkStatus();
      });
}

}  // namespace

std::unique_ptr<grpc::Service> MakeGeneratorService(const ServerOptions& options, engine::Replicas* engine,
                                                    std::shared_ptr<const text::Tokenizer> tokenizer) {
  return std::make_unique<GeneratorService>(options, engine, std::move(tokenizer));
}

}  // namespace quire::frontend
