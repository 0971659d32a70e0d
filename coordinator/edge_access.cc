#include "coordinator/edge_access.h"

#include <utility>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "coordinator/access/exposure.h"
#include "proto/loopback.h"

ABSL_DECLARE_FLAG(std::string, host);
ABSL_DECLARE_FLAG(std::string, api_key_file);
ABSL_DECLARE_FLAG(bool, allow_unauthenticated);
ABSL_DECLARE_FLAG(bool, open_metrics);
ABSL_DECLARE_FLAG(std::string, ssl_certfile);
ABSL_DECLARE_FLAG(std::string, ssl_keyfile);
ABSL_DECLARE_FLAG(std::string, ssl_ca_certs);

namespace quire {

absl::StatusOr<EdgeAccess> OpenEdgeAccess() {
  EdgeAccess edges;
  edges.tls = {absl::GetFlag(FLAGS_ssl_certfile), absl::GetFlag(FLAGS_ssl_keyfile), absl::GetFlag(FLAGS_ssl_ca_certs)};
  const std::string key_file = absl::GetFlag(FLAGS_api_key_file);
  access::Exposure exposure;
  exposure.host = absl::GetFlag(FLAGS_host);
  exposure.keys = !key_file.empty();
  exposure.tls = edges.tls.enabled();
  exposure.client_certificates = !edges.tls.client_ca.empty();
  exposure.allow_unauthenticated = absl::GetFlag(FLAGS_allow_unauthenticated);
  if (absl::Status status = access::CheckExposure(exposure); !status.ok()) return status;
  if (edges.tls.enabled()) {
    if (absl::Status status = access::CheckTlsFiles(edges.tls); !status.ok()) return status;
  }
  const bool open_metrics = absl::GetFlag(FLAGS_open_metrics) || proto::IsLoopbackHost(exposure.host);
  edges.metrics = open_metrics ? http::AuthPolicy::kOpen : http::AuthPolicy::kKey;
  edges.description = access::DescribeExposure(exposure);
  if (key_file.empty()) return edges;
  absl::StatusOr<std::unique_ptr<access::KeyRing>> keys = access::KeyRing::Open(key_file);
  if (!keys.ok()) {
    return absl::Status(keys.status().code(), absl::StrCat("--api_key_file: ", keys.status().message()));
  }
  edges.keys = *std::move(keys);
  return edges;
}

}  // namespace quire
