// Contexts made of files, and made again. See tls_files.h.
#include "coordinator/access/tls_files.h"

#include <glog/logging.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "proto/pem_files.h"

namespace quire::access {
namespace {

// TLS 1.2; those of 1.3 are all of this kind.
constexpr char kCiphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

absl::Status OpenSslError(const std::string& path) {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  absl::Status status = absl::FailedPreconditionError(absl::StrCat(path, ": ", reason == nullptr ? "?" : reason));
  ERR_clear_error();
  return status;
}

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeContext(const TlsFiles& files) {
  if (absl::Status status = CheckTlsFiles(files); !status.ok()) return status;
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX* raw = context.get();
  CHECK(raw != nullptr);
  CHECK_EQ(SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION), 1);
  CHECK_EQ(SSL_CTX_set_cipher_list(raw, kCiphers), 1);
  // A resumed session would skip the client's certificate, and tickets outlive keys.
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  CHECK_EQ(SSL_CTX_set_num_tickets(raw, 0), 1);
  if (SSL_CTX_use_certificate_chain_file(raw, files.certificate.c_str()) != 1) return OpenSslError(files.certificate);
  if (SSL_CTX_use_PrivateKey_file(raw, files.key.c_str(), SSL_FILETYPE_PEM) != 1) return OpenSslError(files.key);
  // Read as one more file, so replaced between the two.
  if (SSL_CTX_check_private_key(raw) != 1) return OpenSslError(files.key);
  if (files.client_ca.empty()) return context;
  if (SSL_CTX_load_verify_locations(raw, files.client_ca.c_str(), nullptr) != 1) return OpenSslError(files.client_ca);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return context;
}

std::vector<std::string> Paths(const TlsFiles& files) {
  std::vector<std::string> paths = {files.certificate, files.key};
  if (!files.client_ca.empty()) paths.push_back(files.client_ca);
  return paths;
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.certificate.empty() || files.key.empty()) {
    return absl::InvalidArgumentError("--ssl_certfile and --ssl_keyfile go together; --ssl_ca_certs needs both");
  }
  const absl::StatusOr<proto::CertificateFacts> facts = proto::ReadCertificate(files.certificate, files.key);
  if (!facts.ok()) return facts.status();
  if (facts->not_after < absl::Now()) {
    return absl::FailedPreconditionError(absl::StrCat(files.certificate, ": the certificate has expired at ",
                                                      absl::FormatTime(facts->not_after, absl::UTCTimeZone())));
  }
  return files.client_ca.empty() ? absl::OkStatus() : proto::CheckCaFile(files.client_ca);
}

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Open(const TlsFiles& files, absl::Duration period) {
  std::unique_ptr<TlsContext> context(new TlsContext(files));
  // Watched first, then read: no change falls between the two.
  context->watch_ = std::make_unique<FileWatch>(
      Paths(files), [c = context.get()] { c->ReadAgain(); }, period);
  if (const absl::Status status = context->Read(); !status.ok()) return status;
  return context;
}

absl::Status TlsContext::Read() {
  absl::MutexLock one_reader(&read_mu_);
  absl::StatusOr<std::shared_ptr<SSL_CTX>> fresh = MakeContext(files_);
  if (!fresh.ok()) return fresh.status();
  absl::MutexLock lock(&mu_);
  context_ = *std::move(fresh);
  return absl::OkStatus();
}

void TlsContext::ReadAgain() {
  if (const absl::Status status = Read(); !status.ok()) {
    failed_reloads_.fetch_add(1, std::memory_order_relaxed);
    LOG(ERROR) << "the files of TLS were changed and cannot be used, those of before stay: " << status.message();
    return;
  }
  reloads_.fetch_add(1, std::memory_order_relaxed);
  LOG(INFO) << "the files of TLS were changed: new connections get the new certificate";
}

std::shared_ptr<SSL_CTX> TlsContext::Get() const {
  absl::ReaderMutexLock lock(&mu_);
  return context_;
}

}  // namespace quire::access
