// Credentials that watch their files, and the check of the peer's role. See cluster_tls.h.
#include "proto/cluster_tls.h"

#include <glog/logging.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_certificate_verifier.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "proto/pem_files.h"

namespace quire::proto {
namespace {

namespace tls = grpc::experimental;

constexpr absl::Duration kSameFailurePeriod = absl::Seconds(10);

absl::string_view NameOf(ClusterRole role) { return role == ClusterRole::kCoordinator ? "coordinator" : "worker"; }

// Runs after OpenSSL has verified the chain.
class RoleVerifier final : public tls::ExternalCertificateVerifier {
 public:
  explicit RoleVerifier(ClusterRole role) : role_(role) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* sync_status) override {
    const std::vector<grpc::string_ref> uris = request->uri_names();
    const auto to_view = [](grpc::string_ref uri) { return absl::string_view(uri.data(), uri.size()); };
    if (!std::any_of(uris.begin(), uris.end(), [&](grpc::string_ref uri) { return HasRole(to_view(uri), role_); })) {
      const std::string names = absl::StrJoin(uris, ", ", [&](std::string* out, grpc::string_ref uri) {
        absl::StrAppend(out, to_view(uri).substr(0, 256));
      });
      const std::string why = absl::StrCat("the peer's certificate is not a ", NameOf(role_), "'s: its URI names are [",
                                           names.substr(0, 1024), "]");
      LOG(WARNING) << "mutual TLS: " << why;
      *sync_status = grpc::Status(grpc::StatusCode::UNAUTHENTICATED, why);
    }
    return true;  // decided here
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const ClusterRole role_;
};

std::shared_ptr<tls::FileWatcherCertificateProvider> Watch(const ClusterTlsFiles& files) {
  return std::make_shared<tls::FileWatcherCertificateProvider>(files.key, files.certificate, files.ca,
                                                               kTlsRefreshSeconds);
}

template <typename Options>
void DemandRole(ClusterRole role, Options* options) {
  options->watch_root_certs();
  options->watch_identity_key_cert_pairs();
  options->set_certificate_verifier(tls::ExternalCertificateVerifier::Create<RoleVerifier>(role));
  options->set_check_call_host(false);
}

}  // namespace

bool HasRole(absl::string_view uri, ClusterRole role) {
  if (!absl::ConsumePrefix(&uri, "spiffe://")) return false;
  const size_t slash = uri.find('/');
  if (slash == 0 || slash == absl::string_view::npos) return false;
  absl::string_view path = uri.substr(slash + 1);
  if (!absl::ConsumePrefix(&path, NameOf(role))) return false;
  return path.empty() || (role == ClusterRole::kWorker && path.front() == '/');
}

absl::Status CheckClusterTls(const ClusterTlsFiles& files, ClusterRole own_role) {
  if (files.certificate.empty() || files.key.empty() || files.ca.empty()) {
    return absl::InvalidArgumentError(
        "--cluster_certfile, --cluster_keyfile and --cluster_ca_certs go together: give all three or none");
  }
  const absl::StatusOr<CertificateFacts> facts = ReadCertificate(files.certificate, files.key);
  if (!facts.ok()) return facts.status();
  if (facts->not_after < absl::Now()) {
    return absl::FailedPreconditionError(absl::StrCat(files.certificate, ": the certificate has expired at ",
                                                      absl::FormatTime(facts->not_after, absl::UTCTimeZone())));
  }
  const auto fits = [own_role](const std::string& uri) { return HasRole(uri, own_role); };
  if (std::none_of(facts->uri_names.begin(), facts->uri_names.end(), fits)) {
    return absl::FailedPreconditionError(
        absl::StrCat(files.certificate, ": the certificate is not a ", NameOf(own_role), "'s: its URI names are [",
                     absl::StrJoin(facts->uri_names, ", "), "], wanted is spiffe://<trust domain>/", NameOf(own_role)));
  }
  return CheckCaFile(files.ca);
}

std::shared_ptr<grpc::ServerCredentials> WorkerCredentials(const ClusterTlsFiles& files) {
  tls::TlsServerCredentialsOptions options(Watch(files));
  DemandRole(ClusterRole::kCoordinator, &options);
  options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  return tls::TlsServerCredentials(options);
}

std::shared_ptr<grpc::ChannelCredentials> CoordinatorCredentials(const ClusterTlsFiles& files) {
  tls::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Watch(files));
  DemandRole(ClusterRole::kWorker, &options);
  return tls::TlsCredentials(options);
}

void LogHandshakeFailure(const char* line) {
  static absl::Mutex mu(absl::kConstInit);
  static std::string* const last = new std::string;
  static absl::Time quiet_until = absl::InfinitePast();
  if (!absl::StrContains(line, "Handshake failed")) return;
  absl::MutexLock lock(&mu);
  const absl::Time now = absl::Now();
  if (now < quiet_until && *last == line) return;
  *last = line;
  quiet_until = now + kSameFailurePeriod;
  LOG(WARNING) << "TLS: " << line;
}

}  // namespace quire::proto
