// PEM by libcrypto. See pem_files.h.
#include "proto/pem_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

#include "absl/strings/str_cat.h"

namespace quire::proto {
namespace {

struct Free {
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

absl::Status Fault(const std::string& path, const std::string& what) {
  ERR_clear_error();
  return absl::FailedPreconditionError(absl::StrCat(path, ": ", what));
}

// A key with a pass phrase must not make us ask at the terminal.
int NoPassPhrase(char*, int, int, void*) { return -1; }

absl::Time ToTime(const ASN1_TIME* time) {
  std::tm parts = {};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? absl::FromTM(parts, absl::UTCTimeZone()) : absl::InfinitePast();
}

std::vector<std::string> UriNames(const X509* certificate) {
  std::vector<std::string> uris;
  const Owned<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(uri)), ASN1_STRING_length(uri));
  }
  return uris;
}

}  // namespace

absl::StatusOr<CertificateFacts> ReadCertificate(const std::string& certificate_path, const std::string& key_path) {
  const Owned<BIO> certificate_file(BIO_new_file(certificate_path.c_str(), "r"));
  if (certificate_file == nullptr) return Fault(certificate_path, strerror(errno));
  const Owned<X509> certificate(PEM_read_bio_X509(certificate_file.get(), nullptr, NoPassPhrase, nullptr));
  if (certificate == nullptr) return Fault(certificate_path, "has no certificate in PEM form");
  const Owned<BIO> key_file(BIO_new_file(key_path.c_str(), "r"));
  if (key_file == nullptr) return Fault(key_path, strerror(errno));
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_file.get(), nullptr, NoPassPhrase, nullptr));
  if (key == nullptr) return Fault(key_path, "has no private key in PEM form without a pass phrase");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return Fault(key_path, absl::StrCat("is not the key of the certificate in ", certificate_path));
  }
  CertificateFacts facts;
  facts.uri_names = UriNames(certificate.get());
  facts.not_before = ToTime(X509_get0_notBefore(certificate.get()));
  facts.not_after = ToTime(X509_get0_notAfter(certificate.get()));
  return facts;
}

absl::Status CheckCaFile(const std::string& path) {
  const Owned<BIO> file(BIO_new_file(path.c_str(), "r"));
  if (file == nullptr) return Fault(path, strerror(errno));
  int found = 0;
  while (Owned<X509> certificate{PEM_read_bio_X509(file.get(), nullptr, NoPassPhrase, nullptr)}) ++found;
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (found == 0) return Fault(path, "has no certificate in PEM form");
  if (!at_end) return Fault(path, absl::StrCat("certificate ", found + 1, " is damaged"));
  ERR_clear_error();
  return absl::OkStatus();
}

}  // namespace quire::proto
