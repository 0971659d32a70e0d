// Mutual TLS between the coordinator and its workers: who may be at the other end of a session, and with which files
// that is shown. Both processes use this one implementation, since both ends must mean the same.
//
// A peer is who its certificate's URI names say, in SPIFFE's form: spiffe://<any trust domain>/coordinator or
// spiffe://<any trust domain>/worker[/<anything>]. The certificate must come from a CA of the cluster's own, which
// signs nothing else: host names are not compared, so whoever holds a worker's certificate can be any worker.
//
// Threads: any; gRPC's read the files again and verify peers.
// Invariants:
//   T1  Nothing older than TLS 1.2 is spoken, and no session starts with a peer that has no certificate, one of another
//       CA, or one of another role; the log says which.
//   T2  Files that are replaced count for connections made from then on, within kTlsRefreshSeconds; connections that
//       are there stay. Key and certificate must be replaced together (a swapped symbolic link, as Kubernetes does it).
#ifndef QUIRE_PROTO_CLUSTER_TLS_H_
#define QUIRE_PROTO_CLUSTER_TLS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace quire::proto {

constexpr int kTlsRefreshSeconds = 2;

enum class ClusterRole { kCoordinator, kWorker };

// Paths of PEM files, all or none.
struct ClusterTlsFiles {
  std::string certificate;  // with its chain
  std::string key;
  std::string ca;
  bool enabled() const { return !certificate.empty() || !key.empty() || !ca.empty(); }
};

// Whether a URI name of a certificate gives its holder this role.
bool HasRole(absl::string_view uri, ClusterRole role);

// Whether a process of this role can start with the files: all of them named, readable and well-formed, the key is the
// certificate's, which has the role and has not expired. Errors: INVALID_ARGUMENT some are missing;
// FAILED_PRECONDITION with the path.
absl::Status CheckClusterTls(const ClusterTlsFiles& files, ClusterRole own_role);

// For a worker: lets coordinators in. Requires: CheckClusterTls.
std::shared_ptr<grpc::ServerCredentials> WorkerCredentials(const ClusterTlsFiles& files);
// For the coordinator: calls workers. Requires: CheckClusterTls.
std::shared_ptr<grpc::ChannelCredentials> CoordinatorCredentials(const ClusterTlsFiles& files);

// For whoever takes gRPC's own log: a line that says that a peer was refused in the handshake becomes a warning of ours,
// the same one at most every ten seconds. Other lines are ignored. Any thread.
void LogHandshakeFailure(const char* line);

}  // namespace quire::proto

#endif  // QUIRE_PROTO_CLUSTER_TLS_H_
