// P-256 and libcrypto. See certificates.h.
#include "proto/testing/certificates.h"

#include <glog/logging.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace quire::proto {
namespace {

constexpr long kDay = 24 * 3600;

void Add(X509* certificate, X509* issuer, int extension, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* made = X509V3_EXT_conf_nid(nullptr, &context, extension, value.c_str());
  CHECK(made != nullptr) << value;
  CHECK_EQ(X509_add_ext(certificate, made, -1), 1);
  X509_EXTENSION_free(made);
}

// Without extensions and signature.
X509* NewCertificate(const std::string& name, EVP_PKEY* key, const X509_NAME* issuer, long seconds) {
  X509* certificate = X509_new();
  CHECK_EQ(X509_set_version(certificate, 2), 1);
  unsigned char serial[8];
  CHECK_EQ(RAND_bytes(serial, sizeof(serial)), 1);
  serial[0] &= 0x7f;
  BIGNUM* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  CHECK_EQ(X509_set_issuer_name(certificate, issuer != nullptr ? issuer : X509_get_subject_name(certificate)), 1);
  CHECK_EQ(X509_set_pubkey(certificate, key), 1);
  return certificate;
}

std::string Drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

std::string ToPem(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK_EQ(PEM_write_bio_X509(bio, certificate), 1);
  return Drain(bio);
}

std::string ToPem(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  CHECK_EQ(PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  return Drain(bio);
}

}  // namespace

struct TestCa::Keys {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  ~Keys() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
};

TestCa::TestCa(const std::string& name) : keys_(std::make_unique<Keys>()) {
  keys_->key = EVP_EC_gen("P-256");
  keys_->certificate = NewCertificate(name, keys_->key, nullptr, 10 * kDay);
  Add(keys_->certificate, keys_->certificate, NID_basic_constraints, "critical,CA:TRUE");
  Add(keys_->certificate, keys_->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  CHECK_GT(X509_sign(keys_->certificate, keys_->key, EVP_sha256()), 0);
}

TestCa::~TestCa() = default;

std::string TestCa::certificate() const { return ToPem(keys_->certificate); }

Credential TestCa::Issue(const std::string& names, absl::Duration lifetime) const {
  Keys issued;
  issued.key = EVP_EC_gen("P-256");
  issued.certificate = NewCertificate("quire test", issued.key, X509_get_subject_name(keys_->certificate),
                                      absl::ToInt64Seconds(lifetime));
  Add(issued.certificate, keys_->certificate, NID_key_usage, "critical,digitalSignature");
  Add(issued.certificate, keys_->certificate, NID_ext_key_usage, "serverAuth,clientAuth");
  if (!names.empty()) Add(issued.certificate, keys_->certificate, NID_subject_alt_name, names);
  CHECK_GT(X509_sign(issued.certificate, keys_->key, EVP_sha256()), 0);
  return {ToPem(issued.certificate), ToPem(issued.key)};
}

void SwappedFiles::Put(const std::map<std::string, std::string>& files) {
  const std::string version = absl::StrCat("v", ++version_);
  CHECK_EQ(mkdir(path(version).c_str(), 0700), 0) << path(version);
  for (const auto& [name, content] : files) std::ofstream(path(version) + "/" + name, std::ios::binary) << content;
  CHECK_EQ(symlink(version.c_str(), path("..tmp").c_str()), 0);
  CHECK_EQ(rename(path("..tmp").c_str(), path("..data").c_str()), 0);
  if (version_ > 1) return;
  for (const auto& [name, content] : files) {
    CHECK_EQ(symlink(absl::StrCat("..data/", name).c_str(), path(name).c_str()), 0);
  }
}

}  // namespace quire::proto
