#include "coordinator/frontend/server.h"

#include <glog/logging.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/service_type.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "coordinator/frontend/api.h"
#include "coordinator/frontend/generator_service.h"

namespace quire::frontend {
namespace {

constexpr int kMetadataBytesMax = 16 << 10;
constexpr size_t kNetworkBytesMax = size_t{512} << 20;  // gRPC's buffers, all connections together
constexpr int kClientPingMsMin =
    10'000;                      // clients of long silent calls ping this often (vLLM's servicer allows the same)
constexpr int kPingMs = 30'000;  // ours, to notice a client that vanished without a FIN
constexpr int kPingTimeoutMs = 10'000;
constexpr absl::Duration kReadyPeriod = absl::Milliseconds(100);

// What gRPC reads only from process-wide switches.
void SetUpGrpcOnce() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Never shut down: gRPC's last object to die waits up to 10 s for a poller that a large message may have left
    // behind.
    grpc_init();
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    // Protobuf logs every string that is not UTF-8: a client could fill the log. The sender gets a status that names
    // the field.
    google::protobuf::SetLogHandler(nullptr);
  });
}

std::string Address(const std::string& host, int port) {
  const bool bare_ipv6 = absl::StrContains(host, ':') && !absl::StartsWith(host, "[");
  return bare_ipv6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

std::shared_ptr<grpc::ServerCredentials> Credentials(const access::TlsFiles& files) {
  namespace tls = grpc::experimental;
  if (!files.enabled()) return grpc::InsecureServerCredentials();
  const int refresh = static_cast<int>(absl::ToInt64Seconds(access::kFileWatchPeriod));
  const bool clients_have_certificates = !files.client_ca.empty();
  tls::TlsServerCredentialsOptions options(
      std::make_shared<tls::FileWatcherCertificateProvider>(files.key, files.certificate, files.client_ca, refresh));
  options.watch_identity_key_cert_pairs();
  if (clients_have_certificates) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  return tls::TlsServerCredentials(options);
}

void Configure(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kClientPingMsMin);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  if (!options.tls.client_ca.empty()) {
    builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                                static_cast<int>(absl::ToInt64Milliseconds(kConnectionAge)));
    builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                                static_cast<int>(absl::ToInt64Milliseconds(kConnectionGrace)));
  }
  grpc::ResourceQuota quota("frontend");
  quota.Resize(kNetworkBytesMax);
  builder->SetResourceQuota(quota);
}

}  // namespace

class Server::Impl {
 public:
  Impl(Api* api, std::shared_ptr<const access::Authenticator> authenticator)
      : api_(api), service_(MakeGeneratorService(api, std::move(authenticator))) {}

  absl::Status Listen(const ServerOptions& options) {
    const std::string address = Address(options.host, options.port);
    grpc::ServerBuilder builder;
    Configure(options, &builder);
    builder.AddListeningPort(address, Credentials(options.tls), &port_);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("cannot listen on ", address, ": the port is in use, or the address is not this machine's."));
    }
    SetReady(api_->Ready());
    poller_ = std::thread([this] {
      while (!stopping_.WaitForNotificationWithTimeout(kReadyPeriod)) SetReady(api_->Ready());
    });
    LOG(INFO) << "Generate is served on " << Address(options.host, port_);
    return absl::OkStatus();
  }

  void SetNotReady() {
    if (server_ == nullptr || stopping_.HasBeenNotified()) return;
    stopping_.Notify();
    poller_.join();
    SetReady(false);
  }

  void Shutdown(absl::Duration grace) {
    if (server_ == nullptr) return;
    SetNotReady();
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_.reset();
  }

  int port() const { return port_; }

 private:
  void SetReady(bool ready) { server_->GetHealthCheckService()->SetServingStatus(kReadyService, ready); }

  Api* const api_;
  const std::unique_ptr<grpc::Service> service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  absl::Notification stopping_;
  std::thread poller_;
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options, Api* api) {
  if (options.port < 0 || options.port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("the port must be in [0, 65535], got ", options.port, "."));
  }
  SetUpGrpcOnce();
  auto impl = std::make_unique<Impl>(api, options.authenticator);
  if (absl::Status status = impl->Listen(options); !status.ok()) return status;
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { Shutdown(absl::ZeroDuration()); }
int Server::port() const { return impl_->port(); }
void Server::SetNotReady() { impl_->SetNotReady(); }
void Server::Shutdown(absl::Duration grace) { impl_->Shutdown(grace); }

}  // namespace quire::frontend
