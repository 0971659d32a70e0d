#include "coordinator/frontend/generator_service.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iterator>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "coordinator/access/authenticator.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/generate_stream.h"
#include "coordinator/frontend/parse_request.h"
#include "coordinator/frontend/status_map.h"
#include "coordinator/metrics/metrics.h"
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

void Count(const Api& api, const char* method, const absl::Status& status) {
  if (api.metrics() != nullptr) api.metrics()->CountGrpc(method, absl::StatusCodeToString(status.code()));
}

class GeneratorService final : public RawService {
 public:
  GeneratorService(Api* api, std::shared_ptr<const access::Authenticator> authenticator)
      : api_(api), authenticator_(std::move(authenticator)) {}

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
  grpc::ServerWriteReactor<ByteBuffer>* Refuse(CallbackServerContext* context, const absl::Status& status) const {
    Count(*api_, "Generate", status);
    return GenerateStream::Refuse(context, status);
  }

  // Who calls. Errors: UNAUTHENTICATED.
  absl::StatusOr<access::Caller> Authenticate(const CallbackServerContext& context) const;

  // One unary call: asks who calls, parses, handles, answers. `handler` is called with what came in, what goes out and
  // the caller.
  template <typename In, typename Out, typename Handler>
  grpc::ServerUnaryReactor* Answer(const char* method, CallbackServerContext* context, const ByteBuffer* bytes,
                                   ByteBuffer* reply, const Handler& handler) const;

  Api* const api_;
  const std::shared_ptr<const access::Authenticator> authenticator_;
};

absl::StatusOr<access::Caller> GeneratorService::Authenticate(const CallbackServerContext& context) const {
  if (authenticator_ == nullptr) return access::Caller();
  const auto [begin, end] = context.client_metadata().equal_range("authorization");
  // Of two we could not say which one another hop looked at.
  if (begin == end || std::next(begin) != end) return authenticator_->Authenticate("");
  return authenticator_->Authenticate(absl::string_view(begin->second.data(), begin->second.size()));
}

template <typename In, typename Out, typename Handler>
grpc::ServerUnaryReactor* GeneratorService::Answer(const char* method, CallbackServerContext* context,
                                                   const ByteBuffer* bytes, ByteBuffer* reply,
                                                   const Handler& handler) const {
  In in;
  Out out;
  const absl::StatusOr<access::Caller> caller = Authenticate(*context);
  absl::Status status = caller.ok() ? ParseRequest(*bytes, &in) : caller.status();
  if (status.ok()) status = handler(in, &out, *caller);
  Count(*api_, method, status);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (status.ok()) {
    bool own_buffer = false;
    reactor->Finish(grpc::SerializationTraits<Out>::Serialize(out, reply, &own_buffer));
  } else {
    reactor->Finish(ToGrpcStatus(status, context));
  }
  return reactor;
}

grpc::ServerWriteReactor<ByteBuffer>* GeneratorService::Generate(CallbackServerContext* context,
                                                                 const ByteBuffer* bytes) {
  const absl::StatusOr<access::Caller> caller = Authenticate(*context);
  if (!caller.ok()) return Refuse(context, caller.status());
  v1::GenerateRequest message;
  if (absl::Status status = ParseRequest(*bytes, &message); !status.ok()) {
    return Refuse(context, status);
  }
  absl::StatusOr<Prepared> prepared = api_->Prepare(message, *caller, DeadlineOf(*context));
  if (!prepared.ok()) return Refuse(context, prepared.status());
  return GenerateStream::Start(context, api_, *std::move(prepared));
}

grpc::ServerUnaryReactor* GeneratorService::Abort(CallbackServerContext* context, const ByteBuffer* bytes,
                                                  ByteBuffer* reply) {
  return Answer<v1::AbortRequest, v1::AbortResponse>(
      "Abort", context, bytes, reply,
      [this](const v1::AbortRequest& in, v1::AbortResponse*, const access::Caller& caller) {
        api_->Abort(in, caller);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* GeneratorService::Tokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                                     ByteBuffer* reply) {
  return Answer<v1::TokenizeRequest, v1::TokenizeResponse>(
      "Tokenize", context, bytes, reply,
      [this](const v1::TokenizeRequest& in, v1::TokenizeResponse* out, const access::Caller&) {
        return api_->Tokenize(in, out);
      });
}

grpc::ServerUnaryReactor* GeneratorService::Detokenize(CallbackServerContext* context, const ByteBuffer* bytes,
                                                       ByteBuffer* reply) {
  return Answer<v1::DetokenizeRequest, v1::DetokenizeResponse>(
      "Detokenize", context, bytes, reply,
      [this](const v1::DetokenizeRequest& in, v1::DetokenizeResponse* out, const access::Caller&) {
        return api_->Detokenize(in, out);
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetModelInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                                         ByteBuffer* reply) {
  return Answer<v1::GetModelInfoRequest, v1::GetModelInfoResponse>(
      "GetModelInfo", context, bytes, reply,
      [this](const v1::GetModelInfoRequest&, v1::GetModelInfoResponse* out, const access::Caller&) {
        return api_->GetModelInfo(out);
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetServerInfo(CallbackServerContext* context, const ByteBuffer* bytes,
                                                          ByteBuffer* reply) {
  return Answer<v1::GetServerInfoRequest, v1::GetServerInfoResponse>(
      "GetServerInfo", context, bytes, reply,
      [this](const v1::GetServerInfoRequest&, v1::GetServerInfoResponse* out, const access::Caller&) {
        return api_->GetServerInfo(out);
      });
}

grpc::ServerUnaryReactor* GeneratorService::GetLoads(CallbackServerContext* context, const ByteBuffer* bytes,
                                                     ByteBuffer* reply) {
  return Answer<v1::GetLoadsRequest, v1::GetLoadsResponse>(
      "GetLoads", context, bytes, reply,
      [this](const v1::GetLoadsRequest&, v1::GetLoadsResponse* out, const access::Caller&) {
        api_->GetLoads(out);
        return absl::OkStatus();
      });
}

}  // namespace

std::unique_ptr<grpc::Service> MakeGeneratorService(Api* api,
                                                    std::shared_ptr<const access::Authenticator> authenticator) {
  return std::make_unique<GeneratorService>(api, std::move(authenticator));
}

}  // namespace quire::frontend
