// The files of TLS at the edges: what --ssl_certfile, --ssl_keyfile and --ssl_ca_certs name.
//
// Any thread.
// Invariants:
//   T1  Nothing older than TLS 1.2 is spoken, and only with forward secrecy and authenticated encryption.
//   T2  With a CA of clients, nobody gets a connection without a certificate of it.
#ifndef QUIRE_COORDINATOR_ACCESS_TLS_FILES_H_
#define QUIRE_COORDINATOR_ACCESS_TLS_FILES_H_

#include <openssl/ossl_typ.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/access/file_watch.h"

namespace quire::access {

// Paths of PEM files; all empty = clear text.
struct TlsFiles {
  std::string certificate;  // with its chain
  std::string key;
  std::string client_ca;  // not empty: clients need a certificate of this CA
  bool enabled() const { return !certificate.empty() || !key.empty() || !client_ca.empty(); }
};

// Whether a server can start with the files. Errors: INVALID_ARGUMENT certificate or key is not named;
// FAILED_PRECONDITION with the path: not readable, malformed, not a pair, or expired.
absl::Status CheckTlsFiles(const TlsFiles& files);

// An OpenSSL server context that follows its files: take it anew for every connection. Thread-safe.
// Files that cannot be used change nothing; the log says why, and failed_reloads counts it.
class TlsContext {
 public:
  // Errors: those of CheckTlsFiles.
  static absl::StatusOr<std::unique_ptr<TlsContext>> Open(const TlsFiles& files,
                                                          absl::Duration period = kFileWatchPeriod);

  // Never null. A connection keeps the one that it began with.
  std::shared_ptr<SSL_CTX> Get() const;

  uint64_t reloads() const { return reloads_.load(std::memory_order_relaxed); }
  uint64_t failed_reloads() const { return failed_reloads_.load(std::memory_order_relaxed); }

 private:
  explicit TlsContext(const TlsFiles& files) : files_(files) {}
  absl::Status Read();
  void ReadAgain();

  const TlsFiles files_;
  absl::Mutex read_mu_;  // who read the files later also keeps the context later
  mutable absl::Mutex mu_;
  std::shared_ptr<SSL_CTX> context_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> reloads_{0};
  std::atomic<uint64_t> failed_reloads_{0};
  std::unique_ptr<FileWatch> watch_;  // last: its thread uses the rest
};

}  // namespace quire::access

#endif  // QUIRE_COORDINATOR_ACCESS_TLS_FILES_H_
