// What this server offers, without a transport: the gRPC and the HTTP edge are adapters of it. A message of the clients'
// protocol becomes a request of the core here, and here alone.
//
// Thread-safe; nothing blocks on the engine, but prompts are tokenized on the caller's thread.
// Invariants:
//   A1  A request of a caller carries the tenant, weight and limits that the server gave the caller, never the client's
//       word.
//   A2  Labels of different tenants never meet: the engine's label is tenant and label. Nobody can abort another
//       tenant's request, or learn of it by its label.
//   A3  A tenant's live requests are counted over both edges; over its limit Submit refuses.
//   A4  After Drain nothing new is taken, and Ready is false.
#ifndef QUIRE_COORDINATOR_FRONTEND_API_H_
#define QUIRE_COORDINATOR_FRONTEND_API_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/engine/replicas.h"
#include "coordinator/frontend/encode.h"
#include "coordinator/frontend/live_requests.h"
#include "coordinator/frontend/render_chat.h"
#include "coordinator/frontend/replica_facts.h"
#include "coordinator/frontend/response_builder.h"
#include "coordinator/metrics/snapshot.h"
#include "coordinator/request/request.h"

namespace quire::v1 {
class AbortRequest;
class ChatInput;
class DetokenizeRequest;
class DetokenizeResponse;
class GenerateRequest;
class GetLoadsResponse;
class GetModelInfoResponse;
class GetServerInfoResponse;
class TokenizeRequest;
class TokenizeResponse;
}  // namespace quire::v1
namespace quire::grammar {
class Grammars;
}
namespace quire::text {
class Tokenizer;
}

namespace quire::frontend {

// A request that may be submitted, and what its answer must say.
struct Prepared {
  request::Request request;
  ResponseOptions response;
  int64_t max_live_requests = 0;  // of the tenant; 0 = no limit
  int64_t arrival = 0;            // when Prepare began: metrics::MonotonicNanos()
};

class Api {
 public:
  // `tokenizer` may be null: then only token ids come in and go out. The engine must outlive this.
  Api(const ApiOptions& options, engine::Replicas* engine, std::shared_ptr<const text::Tokenizer> tokenizer);
  ~Api();

  // Checks every field, makes token ids of the prompt and fills every default. Errors: those of Validate;
  // INVALID_ARGUMENT a limit of the caller; RESOURCE_EXHAUSTED the caller's requests are at their limit already;
  // UNAVAILABLE no replica has formed yet, or draining.
  absl::StatusOr<Prepared> Prepare(const v1::GenerateRequest& message, const access::Caller& caller,
                                   absl::Time deadline);

  // Takes over the request and its sink; returns the id to cancel it by. Errors (the sink is not called): those of
  // Replicas::Submit; RESOURCE_EXHAUSTED the tenant's requests are at their limit.
  absl::StatusOr<uint64_t> Submit(Prepared prepared, std::unique_ptr<engine::RequestSink> sink);

  // Ends a request by the id that Submit gave. No effect after its end.
  void Cancel(uint64_t id);
  // Ends the caller's live requests with these labels; others are ignored.
  void Abort(const v1::AbortRequest& in, const access::Caller& caller);

  // Errors: FAILED_PRECONDITION no tokenizer; INVALID_ARGUMENT with the field.
  absl::Status Tokenize(const v1::TokenizeRequest& in, v1::TokenizeResponse* out) const;
  // The ids of the prompt that the model's template makes of a conversation. Errors: also those of ReadChat.
  absl::Status TokenizeChat(const v1::ChatInput& in, v1::TokenizeResponse* out) const;
  absl::Status Detokenize(const v1::DetokenizeRequest& in, v1::DetokenizeResponse* out);

  // Errors: UNAVAILABLE no replica has formed yet.
  absl::Status GetModelInfo(v1::GetModelInfoResponse* out);
  absl::Status GetServerInfo(v1::GetServerInfoResponse* out);
  void GetLoads(v1::GetLoadsResponse* out) const;
  // The engines' part of the metrics, as of now.
  metrics::Snapshot GetSnapshot() const;

  // Forward progress of at least one replica, and not draining.
  bool Ready() const { return !draining_.load(std::memory_order_relaxed) && engine_->Ready(); }

  // From here on new requests are refused. Running ones go on; Replicas::Stop ends them.
  void Drain() { draining_.store(true, std::memory_order_relaxed); }

  const ApiOptions& options() const { return options_; }
  // For reports.
  engine::Replicas* replicas() { return engine_; }
  // To count what is the transport's; null: nothing is observed.
  metrics::Metrics* metrics() const { return options_.metrics; }
  // Of all tenants together.
  int64_t num_live_requests() const { return live_->num_live(); }

 private:
  // Prepare and Submit, uncounted.
  absl::StatusOr<Prepared> Check(const v1::GenerateRequest& message, const access::Caller& caller, absl::Time deadline);
  absl::Status Constrain(const v1::GenerateRequest& message, const ReplicaFacts& facts, const access::Caller& caller,
                         request::Request* request);
  absl::StatusOr<uint64_t> Enqueue(Prepared prepared, std::unique_ptr<engine::RequestSink> sink);
  // Requires: tokenizer_.
  absl::StatusOr<std::vector<int32_t>> EncodeText(const std::string& text, bool add_special_tokens) const;
  Encode MakeEncode() const;
  RenderChat MakeRenderChat() const;
  ResponseOptions MakeResponseOptions(const v1::GenerateRequest& message, const request::Request& request) const;

  const ApiOptions options_;
  engine::Replicas* const engine_;
  const std::shared_ptr<const text::Tokenizer> tokenizer_;
  ReplicaFactsSource facts_;
  const absl::Time start_time_;
  const std::shared_ptr<LiveRequests> live_;  // sinks release into it, maybe after this is gone
  std::atomic<bool> draining_{false};
  const std::unique_ptr<grammar::Grammars> grammars_;  // null without a tokenizer
};

}  // namespace quire::frontend

#endif  // QUIRE_COORDINATOR_FRONTEND_API_H_
